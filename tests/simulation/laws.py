"""What must hold once the federation has been quiet, whatever happened before."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from node.directory.copies import read_entries
from node.directory.directory import log_name
from node.directory.model import Deleted
from node.directory.replication import LogId
from node.ids import NodeId, state_of
from node.merkle import leaf_hash, root

from .world import Node, World


def differing(world: World) -> list[str]:
    """The honest owners' logs that some honest node does not hold as their hosts do."""
    found = []
    for owner in world.listed:
        if not world.is_honest_log(log_name(owner)):
            continue
        heads = {head(node, owner) for node in world.honest()}
        epoch, size, _ = max(heads)
        own = world.host_of(owner).directory.own.held(str(LogId(owner, epoch=max(epoch, 1))))
        if len(heads) > 1 or (own and own.size > size):
            found.append(log_name(owner))
    return found


def head(node: Node, owner: NodeId) -> tuple[int, int, bytes]:
    """What a node holds of a log: epoch, size and root of what counts."""
    epoch, size = node.directory.position(LogId(owner))
    held = node.directory.replica.held(str(LogId(owner, epoch=max(epoch, 1))))
    return epoch, size, held.root if held else b""


def broken(world: World) -> Iterator[str]:
    """Every law that does not hold now."""
    for name in differing(world):
        yield f"all logs are equal: {name} differs after quiet time"
    for owner in world.listed:
        if world.is_honest_log(log_name(owner)):
            yield from _log_is_sound(world, owner)
    for node in world.honest():
        for found in node.directory.evidence():
            name = found.log
            if world.is_honest_log(name) and log_of(name).name not in world.only_liars_know:
                yield f"no honest owner is accused: {node.name} has {found.kind} against {name}, from {found.source}"
    yield from _equivocation_is_found(world)


def log_of(name: str) -> LogId:
    found = LogId.parse(name)
    assert found is not None
    return found


def _log_is_sound(world: World, owner: NodeId) -> Iterator[str]:
    """Leaves lead to the signed root on every node, authorities are what the entries say, nothing told is lost."""
    directory = world.host_of(owner).directory
    epoch, size = directory.position(LogId(owner))
    current = LogId(owner, epoch=max(epoch, 1))
    name = str(current)
    held, own = directory.replica.held(name), directory.own.held(name)
    entries = directory.replica.entries(name, 0, size)
    if held and root([leaf_hash(entry.leaf) for entry in entries]) != held.root:
        yield f"what is signed is there: {name} at its host does not lead to its root"
    if own and directory.own.entries(name, 0, own.size) != entries[: own.size]:
        yield f"what is signed is there: {name} has other entries in the original than in the copy"
    expected: dict[str, object] = {}
    for change, _ in read_entries(entries, current, 0).changes:
        if isinstance(change, Deleted):
            expected.pop(change.id, None)
        else:
            expected[change.id] = change
    told = {
        change.id: change for _, change in sorted(world.acknowledged.get(current.name, {}).items(), key=itemgetter(0))
    }
    for identifier, change in told.items():
        wanted = None if isinstance(change, Deleted) else change
        if identifier not in world.doubtful and expected.get(identifier) != wanted:
            yield f"what was acknowledged is kept: {identifier} in {name}"
    for node in world.honest():
        replica = node.directory.replica
        if [entry.leaf for entry in replica.entries(name, 0, size)] != [entry.leaf for entry in entries]:
            yield f"all logs are equal: {node.name} holds other entries of {name}"
        found = {each.id: each for each in node.directory.each("authority", state_of(owner))}
        if returned := sorted(found.keys() - expected.keys()):
            yield f"no deleted entry returns: {node.name} shows {returned[:3]} of {name}"
        elif found != expected:
            yield f"all authorities are equal: {node.name} differs from {name}"


def _equivocation_is_found(world: World) -> Iterator[str]:
    """If two stories under one key reached honest nodes, somebody kept both."""
    for owner in world.listed:
        name = log_name(owner)
        if world.is_honest_log(name) or world.host_of(owner).name not in {face for face, _ in world.second_face}:
            continue
        held = [found for node in world.honest() if (found := node.directory.replica.held(name))]
        longest = max(held, key=lambda found: found.size, default=None)
        if longest is None:
            continue
        entries = next(
            node.directory.replica.entries(name, 0, longest.size)
            for node in world.honest()
            if (found := node.directory.replica.held(name)) and found.root == longest.root
        )
        leaves = [leaf_hash(entry.leaf) for entry in entries]
        is_told_twice = any(root(leaves[: found.size]) != found.root for found in held)
        kept = [
            node
            for node in world.honest()
            if any(log_of(found.log).name == name for found in node.directory.evidence())
        ]
        if is_told_twice and not kept:
            yield f"equivocation is found: nobody has evidence that {name} was told in two ways"
