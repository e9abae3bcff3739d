"""An authority changes its name and competence; every node finds it, in any script; a forged page is refused."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from dataclasses import replace
from functools import partial

from node.demo.client import Hand, until
from node.demo.stage import Stage
from node.directory import Directory
from node.directory.directory import log_name
from node.directory.replication import BadPage, pages, read_page, write_page
from node.ids import AuthorityId, NodeId
from pki.node_keys import load_node_keys

TITLE = "The directory: one change, seen everywhere"
SUMMARY = "An Estonian board gets a new name and competence; a forged page of its log is refused."
CHANGED = AuthorityId("EE:4920f9f426")


async def play(stage: Stage) -> None:
    """Rename, find without accents on every node, find Greek and Bulgarian bodies in Latin letters, refuse a forgery."""
    word = f"õppe{secrets.token_hex(3)}"
    await _rename(stage, f"Haridus- ja Teadustöö {word.title()}amet")
    typed = word.replace("õ", "o")
    for node in stage.places:
        hand = stage.any_hand(node)
        found = await until(f"the new name at {node}", partial(_find, hand, typed))
        stage.transcript.check(f"{node} finds it as “{typed}”", found == CHANGED, found=found)
    await _in_latin_letters(stage)
    await asyncio.to_thread(_forged_page, stage)


async def _rename(stage: Stage, name: str) -> None:
    """The node's operator imports one changed entry, beside the running node, which notices."""
    folder = stage.places[NodeId("EE")].folder

    def change() -> None:
        directory = Directory(folder)
        try:
            known = directory.get(CHANGED)
            changed = replace(known, names={**known.names, known.name_lang: name}, professions=("vocational-teacher",))
            directory.publish(NodeId("EE"), [changed], load_node_keys(folder / "keys").log_signer)
        finally:
            directory.close()

    await asyncio.to_thread(change)
    stage.transcript.tell("EE", f"renames one of its authorities: {name}; it now recognises vocational teachers")


async def _find(hand: Hand, words: str) -> str | None:
    found = await hand.find(words)
    return str(found[0]["id"]) if found else None


async def _in_latin_letters(stage: Stage) -> None:
    hand = stage.any_hand(NodeId("EE"))
    for typed, state in (("ypourgeio ethnikis paideias", "EL"), ("ministerstvo na obrazovanieto", "BG")):
        found = await hand.find(typed, state=state)
        name = found[0]["name"] if found else "nothing"
        stage.transcript.tell("EE", f"types “{typed}”")
        stage.transcript.quote(name)
        stage.transcript.check(f"an authority of {state} is found in Latin letters", bool(found), found=found)


def _forged_page(stage: Stage) -> None:
    """Somebody between the nodes changes one page: the root does not come out as signed, and nothing counts."""
    owner = Directory(stage.places[NodeId("EE")].folder)
    scratch = stage.folder / f"scratch-{secrets.token_hex(4)}"
    scratch.mkdir()
    victim = Directory(scratch)
    try:
        refused = _follow_forged(owner, victim)
        stage.transcript.check("a forged page of Estonia's log is refused, nothing of it counts", refused)
    finally:
        victim.close()
        owner.close()
        shutil.rmtree(scratch)


def _follow_forged(owner: Directory, victim: Directory) -> bool:
    held = owner.replica.held(log_name(NodeId("EE")))
    assert held
    for page, width, _ in pages(0, held.size):
        data = write_page(owner.replica.page(held.log, page)[:width])
        forged = data.replace(b"Haridus", b"Valedus") if page == 0 else data
        victim.replica.stage(held.log, read_page(forged, count=width))
    try:
        victim.settle(held)
    except BadPage:
        return victim.count() == 0
    return False
