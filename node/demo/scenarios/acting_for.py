"""A body without users is asked, and its coordinator answers in its name (acceptance scenarios A7, A13)."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, Final

from node.demo.client import Hand, until
from node.demo.stage import Stage

PROCEDURE = "professional-qualifications/information-request"
TITLE = "Centralised: a coordinator acts for a body without users"
SUMMARY = (
    "France asks an Estonian board that has no users; the ministry that represents it answers, in the board's name."
)
BODY: Final = "EE:4920f9f426"  # represented in config/directory/overlay.toml


async def play(stage: Stage) -> None:
    """Ask the body; its coordinator's list names it; answer; whose steps they are, and who the other side sees acting."""
    france, estonia, tell = stage.hand("FR", "handler"), stage.hand("EE", "handler"), stage.transcript
    entry = await france.authority_of(BODY)
    tell.check("its entry says who acts for it", entry["represented_by"] == estonia.authority, found=entry)
    number = await _ask(stage, france)
    tell.tell("FR", f"asks {entry['name']}, which has no users: {number}")
    item = await until("the request in the ministry's list", partial(_listed, estonia, number))
    tell.tell("EE", "an official of the ministry finds it among the ministry's own cases, marked with the board's name")
    tell.check("the list says whose case it is", item["authority"] == BODY, found=item)
    case = await estonia.case(number, "et")
    await estonia.step(number, "accept", {"date": case["variables"]["agreed"]})
    await estonia.step(number, "answer", {"questions": ["Q3"]}, {"answers": {"Q3": {"yes-no-unknown": "yes"}}})
    answered = await until("the answer in France", partial(_answered, france, number))
    authors = {entry["author"] for entry in answered["timeline"]}
    tell.check("each step is the board's own or France's", authors == {france.authority, BODY}, found=authors)
    board = next(party for party in answered["parties"] if party["authority"] == BODY)
    tell.tell("FR", f"reads: {board['name']}, handled by {board['handled_by_name']}")
    tell.check("France sees who handles it", board["handled_by"] == estonia.authority, found=board)
    await france.step(number, "close", {}, {"survey": {"timeliness": "good", "effort": "good"}})


async def _ask(stage: Stage, france: Hand) -> str:
    wanted = (stage.today() + timedelta(days=14)).isoformat()
    return await france.open(
        PROCEDURE,
        "send",
        {"to": BODY, "questions": ["Q3"], "wanted": wanted, "urgency": "normal"},
        {
            "person": {"surname": _text("Exemple"), "given-names": _text("Personne Deux"), "birth-date": "1988-05-06"},
            "profession": {"profession": "primary-school-teacher"},
            "reasoned-request": {"justification": _text("Le tampon est illisible.")},
        },
    )


async def _listed(hand: Hand, number: str) -> dict[str, Any] | None:
    return next((case for case in await hand.cases() if case["number"] == number), None)


async def _answered(hand: Hand, number: str) -> dict[str, Any] | None:
    case = await hand.case(number, "fr")
    return case if case["state"] == "answered" else None


def _text(text: str) -> dict[str, str]:
    return {"text": text, "lang": "fr"}
