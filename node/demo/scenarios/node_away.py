"""Romania's node is killed while France sends; everything arrives once and in order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

from node.demo.client import Hand, until
from node.demo.scenarios.one_to_one import PROCEDURE
from node.demo.stage import Stage
from node.ids import NodeId

TITLE = "A node is away"
SUMMARY = "Romania's process is killed (SIGKILL) while France sends two requests; then it is started again."
ROUNDS = 3


async def play(stage: Stage) -> None:
    """Kill, send twice, start, compare; then kill again and again in the middle of arrivals."""
    france, romania = stage.hand("FR", "handler"), stage.hand("RO", "handler")
    tell = stage.transcript
    before = {case["number"] for case in await romania.cases()}
    await stage.processes.nodes[NodeId("RO")].kill()
    tell.tell("RO", "is killed")
    numbers = [await _ask(stage, france), await _ask(stage, france)]
    for number in numbers:
        await france.step(number, "message", {}, {"message": {"text": {"text": "Une précision.", "lang": "fr"}}})
    tell.tell("FR", f"sends {numbers[0]} and {numbers[1]} and a message in each all the same: sending stays possible")
    waiting = await stage.messages("FR", numbers[0])
    tell.check(
        "France keeps them, unreceipted", all(m["state"] != "received" for m in waiting if m["direction"] == "out")
    )
    await stage.processes.nodes[NodeId("RO")].start()
    tell.tell("RO", "is started again")
    for number in numbers:
        await until(f"{number} in Romania", partial(_complete, romania, number))
    numbers += await _in_the_middle(stage, france, romania)
    await stage.quiet()
    await _compare(stage, france, romania, numbers, before)


async def _in_the_middle(stage: Stage, france: Hand, romania: Hand) -> list[str]:
    """Kill Romania's node at moments spread over the arrival of a message: before, between storing and answering, after."""
    numbers = []
    for round_ in range(ROUNDS):
        number = await _ask(stage, france)
        await asyncio.sleep(0.02 * round_)
        await stage.processes.nodes[NodeId("RO")].kill()
        await stage.processes.nodes[NodeId("RO")].start()
        await until(f"{number} in Romania", partial(_arrived, romania, number))
        numbers.append(number)
    stage.transcript.tell("RO", f"is killed {ROUNDS} more times while messages arrive")
    return numbers


async def _compare(stage: Stage, france: Hand, romania: Hand, numbers: list[str], before: set[str]) -> None:
    tell = stage.transcript
    arrived = [case["number"] for case in await romania.cases() if case["number"] not in before]
    tell.check("everything arrived once", sorted(arrived) == sorted(numbers), found=arrived)
    for number in numbers:
        sent = [e["id"] for e in await france.events(number) if e["author"] == france.authority]
        held = [e["id"] for e in await romania.events(number) if e["author"] == france.authority]
        tell.check(f"{number}: the same events in the same order on both nodes", sent == held, found=(sent, held))


async def _ask(stage: Stage, france: Hand) -> str:
    person = {
        "surname": {"text": "Exemple", "lang": "fr"},
        "given-names": {"text": "Personne Deux", "lang": "fr"},
        "birth-date": "1988-05-06",
    }
    return await france.open(
        PROCEDURE,
        "send",
        {
            "to": stage.authority("RO"),
            "questions": ["Q3"],
            "wanted": (stage.today() + timedelta(days=14)).isoformat(),
            "urgency": "normal",
        },
        {
            "person": person,
            "profession": {"profession": "primary-school-teacher"},
            "reasoned-request": {"justification": {"text": "Vérification d'un titre de formation.", "lang": "fr"}},
        },
    )


async def _arrived(hand: Hand, number: str) -> dict[str, Any] | None:
    case = await hand.case(number)
    return case if case["state"] == "awaiting-acceptance" else None


async def _complete(hand: Hand, number: str) -> dict[str, Any] | None:
    case = await hand.case(number)
    return case if any(entry["step"] == "message" for entry in case["timeline"]) else None
