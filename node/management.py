"""The management door, on the loopback address: is it alive, is it ready, and its figures for Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import REGISTRY, generate_latest

from node.pages import public

Check = Callable[[], Awaitable[str]]  # empty: well; else one sentence: what is wrong and what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What /health/ready looks at, by name; and what is counted just before /metrics answers."""

    checks: Mapping[str, Check]
    before_metrics: Callable[[], Awaitable[None]]


def routes(health: Health) -> list[web.RouteDef]:
    """The routes `/health/live`, `/health/ready` (503 with reasons until all is well) and `/metrics`."""

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        found = {name: await check() for name, check in health.checks.items()}
        well = not any(found.values())
        body = {"status": "ready" if well else "not ready", "checks": {n: r or "well" for n, r in found.items()}}
        return web.json_response(body, status=200 if well else 503)

    async def metrics(_: web.Request) -> web.Response:
        await health.before_metrics()
        return web.Response(body=generate_latest(REGISTRY), content_type="text/plain", charset="utf-8")

    found = {"/health/live": live, "/health/ready": ready, "/metrics": metrics}
    return [web.get(path, public(handler)) for path, handler in found.items()]
