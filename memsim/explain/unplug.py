"""How much memory can go: which blocks, in which order, how fast, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memsim.errors import InputError, Problem, TrialError
from memsim.execute.runner import where
from memsim.explain.changes import Change, candidates, changed, tried
from memsim.explain.removals import BlockView, views
from memsim.memory import Memory, hotplug
from memsim.memory.counting import obstacles_and_pages
from memsim.memory.hotplug_2005 import offline_2005
from memsim.mm import PAGE_SIZE
from memsim.scenario import Trial
from memsim.schema import Removal
from memsim.simulate.removals import Removed, row_of
from memsim.simulate.retrace import at_instant


@dataclass(frozen=True)
class Asked:
    """What is to go: so many bytes, a node, or a block."""

    size: int | None = None
    node: int | None = None
    block: int | None = None
    at_ns: int | None = None
    """When; None: at the end of the trial."""
    timeout_ns: int = 10**10
    """For each block."""


@dataclass(frozen=True)
class UnplugPlan:
    """What can go of what was asked for."""

    trial: str
    at_ns: int
    wanted_bytes: int
    block_bytes: int
    blocks: tuple[BlockView, ...]
    """Those that were tried, in the order in which they are best tried."""
    changes: tuple[Change, ...]
    """What would let more go, each verified by carrying out the trial so."""

    @property
    def removed_bytes(self) -> int:
        """What went."""
        return self.block_bytes * sum(view.row.result == "offline" for view in self.blocks)

    @property
    def took_ns(self) -> int:
        """Simulated time that all attempts took."""
        return sum(view.row.offline_model_ns for view in self.blocks)


def plan_unplug(trial: Trial, asked: Asked) -> UnplugPlan:
    """Carry out a trial to an instant, then take memory away block by block, the easiest first.

    Raises InputError for a node or block that is not there, TrialError for a trial that cannot be
    carried out.
    """
    size = trial.scenario.machine.memory_block_size
    memory = at_instant(trial, asked.at_ns)
    began = memory.now
    numbers = _blocks(memory, asked, size // PAGE_SIZE)
    wanted = asked.size if asked.size is not None else len(numbers) * size
    found = tuple(_take(memory, numbers, asked, size // PAGE_SIZE, wanted))
    gone = _gone(found)
    changes: tuple[Change, ...] = ()
    if gone * size < wanted:

        def removed_with(paths: dict[str, object]) -> int:
            try:
                other = changed(trial, paths)
                then = at_instant(other, asked.at_ns)
                return _gone(_take(then, _blocks(then, asked, size // PAGE_SIZE), asked,
                                   size // PAGE_SIZE, wanted))  # fmt: skip
            except (InputError, TrialError):
                return 0

        ideas = list(candidates(trial, found))
        changes = tuple(tried(ideas, removed_with, -(-wanted // size), gone))
    return UnplugPlan(where(trial), began, wanted, size, views(trial, found), changes)


def _blocks(memory: Memory, asked: Asked, pages: int) -> list[int]:
    """Number the blocks that may be tried, those with the fewest obstacles and pages first."""
    nodes = range(len(memory.setup.zonelists))
    if asked.node is not None and asked.node not in nodes:
        message = f"node {asked.node} does not exist"
        hint = f"nodes are 0 to {len(nodes) - 1}" if len(nodes) > 1 else "there is only node 0"
        raise InputError([Problem("--node", 0, 0, message, hint)])
    chosen = nodes if asked.node is None else [asked.node]
    known = sorted({n for node in chosen for n in hotplug.node_blocks(memory, node, pages)})
    if asked.block is not None:
        if asked.block not in known:
            message = f"block {asked.block} is not there, or offline already: EINVAL"
            raise InputError([Problem("--block", 0, 0, message, f"blocks are {known[0]} to "
                                      f"{known[-1]}" if known else "")])  # fmt: skip
        return [asked.block]
    costs = {n: obstacles_and_pages(memory.mem, n * pages, (n + 1) * pages) for n in known}
    return sorted(known, key=lambda n: (*costs[n], -n))


def _take(
    memory: Memory, numbers: Sequence[int], asked: Asked, pages: int, wanted: int
) -> Iterable[Removed]:
    gone = 0
    for number in numbers:
        if gone * pages * PAGE_SIZE >= wanted:
            return
        start, count = hotplug.block_range(number, pages)
        old = memory.setup.mechanism == "linux-2.6.14"
        offline = offline_2005 if old else hotplug.offline
        outcome = offline(memory, start, count, asked.timeout_ns)
        gone += outcome.removed
        yield Removed(row_of(memory, "unplug", number, outcome), outcome)


def _gone(found: Iterable[Removed]) -> int:
    return sum(one.outcome.removed for one in found)


def summary(rows: Iterable[Removal]) -> dict[str, int]:
    """Count the blocks by what became of them: offline, or the reason for which they stayed."""
    counts: dict[str, int] = {}
    for row in rows:
        key = "offline" if row.result == "offline" else row.reason
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
