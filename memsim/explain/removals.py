"""Why memory blocks stayed: which pages, whose they are, since when, and what would have helped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memsim.errors import InputError, Problem
from memsim.execute.runner import where
from memsim.explain.changes import Change, changes_for
from memsim.memory.obstacles import Obstacle, Reason
from memsim.scenario import Trial
from memsim.schema import Removal
from memsim.simulate.removals import Removed
from memsim.simulate.retrace import Owner, owners, retrace

NOBODY = Owner("", "before the start", -1)


@dataclass(frozen=True)
class Group:
    """Pages that stayed for the same reason and belong to the same."""

    reason: str
    workload: str
    """Empty for what was there before the start."""
    use: str
    pages: int
    """Each of them is an obstacle by itself."""
    first_pfns: tuple[int, ...]
    """Some of them, ascending."""
    since_ns: tuple[int, int]
    """When the first and the last of them got there; -1: before the start."""


@dataclass(frozen=True)
class BlockView:
    """A block that was to go."""

    row: Removal
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class RemovalView:
    """All there is to say about some blocks that were to go."""

    trial: str
    asked: str
    blocks: tuple[BlockView, ...]
    changes: tuple[Change, ...]
    """What would have let more of them through, each verified by carrying out the trial so."""


SHOWN_PFNS = 4


def explain_removals(
    trial: Trial, *, block: int | None = None, node: int | None = None
) -> RemovalView:
    """Carry out a trial and say what became of a block, or of the blocks of a node.

    Raises InputError if the trial has no such removal, TrialError if it cannot be carried out.
    """
    asked = f"--block {block}" if block is not None else f"--node {node}"
    found = chosen(retrace(trial).removed, block, node)
    if not found:
        hint = "add an event: {at: 40s, do: offline, node: 1}"
        message = f"was not to be taken offline in this trial ({where(trial)})"
        raise InputError([Problem(asked, 0, 0, message, hint)])
    return RemovalView(
        where(trial), asked, views(trial, found), changes_for(trial, found, block, node)
    )


def chosen(removed: Iterable[Removed], block: int | None, node: int | None) -> tuple[Removed, ...]:
    """Keep the last attempt at each block that is meant and was still online, by its number."""
    last: dict[int, Removed] = {}
    for one in removed:
        number, gone = one.row.block, one.outcome.reason == Reason.OFFLINE
        meant = number == block or (node is not None and one.row.zone.startswith(f"node{node} "))
        if meant and not (gone and number in last):
            last[number] = one
    return tuple(last[number] for number in sorted(last))


def views(trial: Trial, found: Sequence[Removed]) -> tuple[BlockView, ...]:
    """Say of each block whose pages kept it, by carrying out the trial once more."""
    until = max(one.outcome.ended_ns for one in found)
    handles = {o.handle for one in found for o in one.outcome.obstacles}
    known = owners(trial, handles, until) if handles - {-1} else {}
    return tuple(BlockView(one.row, _groups(one.outcome.obstacles, known)) for one in found)


def _groups(obstacles: Iterable[Obstacle], known: dict[int, Owner]) -> tuple[Group, ...]:
    by: dict[tuple[str, str, str], list[tuple[int, int, int]]] = {}
    for obstacle in obstacles:
        owner = known.get(obstacle.handle, NOBODY)
        key = (str(obstacle.reason), owner.workload, owner.use)
        by.setdefault(key, []).append((obstacle.pfn, obstacle.pages, owner.since_ns))
    groups = []
    for (reason, workload, use), pages in by.items():
        pfns = sorted(pfn for pfn, _, _ in pages)
        since = [instant for _, _, instant in pages]
        number = sum(size for _, size, _ in pages)
        span = (min(since), max(since))
        groups.append(Group(reason, workload, use, number, tuple(pfns[:SHOWN_PFNS]), span))
    return tuple(sorted(groups, key=lambda group: -group.pages))
