"""Defective scaffolding: Estonia alerts Germany, France and the Commission (acceptance scenario A9)."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from node.demo.client import Hand, until
from node.demo.stage import Stage

PROCEDURE = "services/alert"
TITLE = "One to many: an alert, and its closure by agreement"
SUMMARY = "Estonia warns Germany (both nodes), France, where the firm is established, and the Commission (Art. 32)."


async def play(stage: Stage) -> None:
    """Broadcast, acknowledge one by one, add information, propose closure, agree, close; what the Commission sees."""
    estonia, france = stage.hand("EE", "disseminator"), stage.hand("FR", "disseminator")
    inboxes = [stage.hand(node, "disseminator") for node in ("DE", "DE-BY", "FR") if node in stage.places]
    canary = f"CANARY-{secrets.token_hex(8)}"
    number = await _broadcast(stage, estonia, france, inboxes, canary)
    await _acknowledge(stage, estonia, inboxes, number)
    await _add_information(stage, estonia, inboxes[0], number)
    await _close(stage, france, inboxes, number)
    await _what_the_commission_sees(stage, number, canary)


async def _broadcast(stage: Stage, estonia: Hand, france: Hand, inboxes: list[Hand], canary: str) -> str:
    number = await estonia.open(
        PROCEDURE,
        "broadcast-directly",
        {"to": sorted(hand.authority for hand in inboxes), "establishment": france.authority},
        {
            "service-danger": {
                "provider": _text("Échafaudages Exemple SARL", "fr"),
                "activity": "scaffolding",
                "facts": _text(f"Tellingud varisesid kahel ehitusplatsil. {canary}", "et"),
                "damage": "safety",
                "severity": "very-serious",
                "likelihood": "high",
            }
        },
    )
    stage.transcript.tell("EE", f"broadcasts alert {number} to {len(inboxes)} entry points and the Commission")
    return number


async def _acknowledge(stage: Stage, estonia: Hand, inboxes: list[Hand], number: str) -> None:
    for hand in inboxes:
        await until(f"the alert at {hand.node}", partial(_in_state, hand, number, "broadcast"))
        await hand.step(number, "acknowledge")
        stage.transcript.tell(hand.node, "acknowledges")
    wanted = {hand.authority for hand in inboxes}
    case = await until("all acknowledgements in Estonia", partial(_flagged, estonia, number, "acknowledge", wanted))
    stage.transcript.check(
        f"Estonia sees {len(wanted)} acknowledgements, one by one", _authors(case, "acknowledge") == wanted
    )


async def _add_information(stage: Stage, estonia: Hand, germany: Hand, number: str) -> None:
    note = _text("Die gleichen Bauteile wurden auf einer Baustelle in Hamburg gefunden.", "de")
    await germany.step(number, "add-information", {}, {"info": {"text": note}})
    stage.transcript.tell(germany.node, "adds what was found in Germany")
    await until(
        "the information in Estonia", partial(_flagged, estonia, number, "add-information", {germany.authority})
    )


async def _close(stage: Stage, france: Hand, inboxes: list[Hand], number: str) -> None:
    tell = stage.transcript
    await france.step(number, "propose-closure", {}, {"ground": {"ground": "measures-taken"}})
    tell.tell("FR", "as the State of establishment, proposes to close: measures were taken")
    refused = await stage.refused(france.step(number, "close-agreed"))
    tell.check("closing before all agree is refused", refused == "refused.step-not-allowed", found=refused)
    for hand in inboxes:
        await until(f"the proposal at {hand.node}", partial(_in_state, hand, number, "closure-proposed"))
        await hand.step(number, "agree")
        tell.tell(hand.node, "agrees")
    agreed = {hand.authority for hand in inboxes}
    await until("all agreements in France", partial(_flagged, france, number, "agree", agreed))
    await france.step(number, "close-agreed")
    closed = [
        (await until(f"the closure at {hand.node}", partial(_in_state, hand, number, "closed")))["state"]
        for hand in inboxes
    ]
    tell.check("every State sees it closed", closed == ["closed"] * len(inboxes), found=closed)


async def _what_the_commission_sees(stage: Stage, number: str, canary: str) -> None:
    tell = stage.transcript
    commission = stage.hand("EU", "handler")
    case = await until("the closure at the Commission", partial(_in_state, commission, number, "closed"))
    fields = {field["key"] for form in case["forms"] for field in form["fields"] if form["form"] == "service-danger"}
    given = {"activity", "damage", "severity", "likelihood"}
    tell.tell("EU", f"sees of the danger: {', '.join(sorted(fields))}")
    tell.check("the Commission sees exactly what the procedure gives it", fields == given, found=sorted(fields))
    await stage.quiet()
    tell.check("the facts never reached the Commission's node", not stage.files_with("EU", canary.encode()))


async def _in_state(hand: Hand, number: str, state: str) -> dict[str, Any] | None:
    case = await hand.case(number)
    return case if case["state"] == state else None


def _authors(case: dict[str, Any], step: str) -> set[str]:
    return {entry["author"] for entry in case["timeline"] if entry["step"] == step}


async def _flagged(hand: Hand, number: str, step: str, wanted: set[str]) -> dict[str, Any] | None:
    case = await hand.case(number)
    return case if _authors(case, step) >= wanted else None


def _text(text: str, language: str) -> dict[str, str]:
    return {"text": text, "lang": language}
