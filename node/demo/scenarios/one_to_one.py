"""A diploma is doubted: France asks Romania, each side works in its own language (acceptance scenario A1)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from node.demo.client import Hand, until
from node.demo.stage import Stage

PROCEDURE = "professional-qualifications/information-request"
TITLE = "One to one: is this diploma genuine?"
SUMMARY = "An authority in France doubts a scanned Romanian teaching diploma and asks the competent Romanian authority."


@dataclass(slots=True, kw_only=True)
class Asked:
    """What the story carries from one act to the next."""

    number: str
    scan: bytes
    canary: str
    wanted: date
    agreed: date


async def play(stage: Stage) -> None:
    """Ask, accept with another date, answer in two parts, read in French, close; then look who holds what."""
    france, romania = stage.hand("FR", "handler"), stage.hand("RO", "handler")
    asked = await _ask(stage, france)
    await _accept(stage, romania, france, asked)
    await _answer(stage, romania, asked)
    await _read_and_close(stage, france, romania, asked)
    await _look_around(stage, asked)


async def _ask(stage: Stage, france: Hand) -> Asked:
    tell = stage.transcript
    found = await france.find("profesor învățământ", state="RO")
    tell.tell("FR", f"searches “profesor învățământ” in Romania and finds {found[0]['name']}")
    tell.check(
        "the directory finds the competent Romanian authority", found[0]["id"] == stage.authority("RO"), found=found[0]
    )
    canary = f"CANARY-{secrets.token_hex(8)}"
    scan = b"%PDF-1.7 demo scan " + canary.encode() + secrets.token_bytes(120_000)
    document = await france.upload("diploma-scan.pdf", "application/pdf", scan)
    wanted = stage.today() + timedelta(days=14)
    number = await france.open(
        PROCEDURE,
        "send",
        {
            "to": stage.authority("RO"),
            "questions": ["Q2", "Q3", "Q4"],
            "wanted": wanted.isoformat(),
            "urgency": "normal",
        },
        {
            "person": {
                "surname": _text("Exemple", "fr"),
                "given-names": _text("Personne Une", "fr"),
                "birth-date": "1990-02-03",
            },
            "profession": {"profession": "secondary-school-teacher"},
            "reasoned-request": {
                "justification": _text(f"La copie du diplôme est peu lisible. {canary}", "fr"),
                "attachment": {**document, "lang": "ro"},
            },
        },
    )
    tell.tell("FR", f"sends request {number}: three questions, the scan attached, an answer wanted by {wanted}")
    return Asked(number=number, scan=scan, canary=canary, wanted=wanted, agreed=wanted + timedelta(days=7))


async def _accept(stage: Stage, romania: Hand, france: Hand, asked: Asked) -> None:
    tell = stage.transcript
    case = await until("the request in Romania", partial(_in_state, romania, asked.number, "awaiting-acceptance", "ro"))
    question = next(q for q in case["questions"] if q["key"] == "Q3")
    tell.tell("RO", "reads the request in Romanian:")
    tell.quote(question["text"], mark="rendered from the catalogue")
    await romania.step(asked.number, "accept", {"date": asked.agreed.isoformat()})
    tell.tell("RO", f"accepts, and proposes {asked.agreed} instead")
    theirs = await until("the acceptance in France", partial(_in_state, france, asked.number, "accepted", "fr"))
    ours = await romania.case(asked.number, "ro")
    tell.check(
        "the due dates agree on both nodes", theirs["due"] == ours["due"] and bool(ours["due"]), found=theirs["due"]
    )


async def _answer(stage: Stage, romania: Hand, asked: Asked) -> None:
    comment = _text("Diploma este înregistrată în evidențele noastre.", "ro")
    await romania.step(
        asked.number,
        "answer-part",
        {"questions": ["Q3"]},
        {"answers": {"Q3": {"yes-no-unknown": "yes", "comment": comment}}},
    )
    stage.transcript.tell("RO", "answers the question on authenticity at once")
    await romania.step(
        asked.number,
        "answer",
        {"questions": ["Q2", "Q4"]},
        {
            "answers": {
                "Q2": {"yes-no-unknown": "yes"},
                "Q4": {"cannot-say": _text("Nivelul se stabilește de altă autoritate.", "ro")},
            }
        },
    )
    stage.transcript.tell("RO", "answers the rest: one yes, one “cannot say” with the reason in Romanian")


async def _read_and_close(stage: Stage, france: Hand, romania: Hand, asked: Asked) -> None:
    tell = stage.transcript
    case = await until("the answer in France", partial(_in_state, france, asked.number, "answered", "fr"))
    answer = next(q for q in case["questions"] if q["key"] == "Q3")
    tell.tell("FR", "reads in French:")
    tell.quote(
        f"{answer['text']} – {answer['answer']['text']}", mark="question and answer from the catalogue, in French"
    )
    tell.quote(answer["comment"]["text"], mark="free text, marked as Romanian")
    tell.check("the predefined answer is rendered in French", answer["answer"]["text"] == "Oui", found=answer["answer"])
    tell.check("the free text is Romanian and says so", answer["comment"]["lang"] == "ro", found=answer["comment"])
    digest = hashlib.sha256(asked.scan).hexdigest()
    tell.check("the attached file arrived bit for bit", await romania.download(asked.number, digest) == asked.scan)
    await france.step(asked.number, "close", {}, {"survey": {"timeliness": "good", "effort": "good"}})
    await until("the closure in Romania", partial(_in_state, romania, asked.number, "closed", "ro"))
    tell.tell("FR", "accepts the reply and closes; Romania sees it closed")


async def _look_around(stage: Stage, asked: Asked) -> None:
    tell = stage.transcript
    await stage.quiet()
    for node in ("EE", "DE"):
        if node in stage.places:
            found = stage.files_with(node, asked.canary.encode(), asked.number.encode())
            tell.check(f"{node} holds nothing of it", not found, found=found)
    messages = [m for node in ("FR", "RO") for m in await stage.messages(node, asked.number)]
    sent = [m for m in messages if m["direction"] == "out"]
    tell.check(
        f"each of {len(sent)} messages has a verified signed receipt",
        bool(sent) and all(m["state"] == "received" and m["receipt_verified"] for m in sent),
        found=sent,
    )


async def _in_state(hand: Hand, number: str, state: str, language: str) -> dict[str, Any] | None:
    case = await hand.case(number, language)
    return case if case["state"] == state else None


def _text(text: str, language: str) -> dict[str, str]:
    return {"text": text, "lang": language}
