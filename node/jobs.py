"""When things run. No logic of its own: what is due lies in tables, written with the case.

APScheduler is an in-memory ticker only: each job runs once at the start and then every so many seconds, never twice
at the same time, and a late one is not made up for. A job that fails is logged and runs again at its next tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from node.errors import ImiError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Recurring work: its name in the log, its pace, a limit for one run, and what to do."""

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[None]]
    limit_seconds: float = 300.0


class Ticker:
    """Runs jobs at their pace until stopped."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})
        for job in jobs:
            self._scheduler.add_job(
                _once, "interval", args=[job], seconds=job.every_seconds, id=job.name,
                max_instances=1, next_run_time=datetime.now(UTC),
            )  # fmt: skip

    def start(self) -> None:
        """Start ticking on the running loop."""
        self._scheduler.start()

    async def stop(self) -> None:
        """No new runs; a run under way is cancelled."""
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)


async def _once(job: Job) -> None:
    try:
        async with asyncio.timeout(job.limit_seconds):
            await job.run()
    except ImiError as error:
        log.warning("job put off", job=job.name, code=error.code, reason=str(error))
    except TimeoutError:
        log.warning("job took too long", job=job.name, limit_seconds=job.limit_seconds)
    except Exception:
        # A bug in one job must not silence the others; it is logged in full and shown by /metrics.
        log.exception("job failed", job=job.name)
