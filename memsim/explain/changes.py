"""The smallest changes that would have let memory go, each tried by carrying out the trial so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from memsim.errors import InputError, TrialError
from memsim.memory.obstacles import Reason
from memsim.memory.start import start
from memsim.mm import PAGE_SIZE, ZONE_NAMES, ZONE_NAMES_2005, ZoneType, ZoneType2005
from memsim.scenario import Trial, as_text
from memsim.simulate.plan import tables_of_trial
from memsim.simulate.removals import Removed
from memsim.simulate.retrace import retrace
from memsim.units import format_bytes

OF_THE_KERNEL = (Reason.SLAB, Reason.KERNEL, Reason.RESERVED, Reason.LRU_BATCH, Reason.TAKEN)
MOVABLE_NAMES = (
    ZONE_NAMES[ZoneType.MOVABLE],
    ZONE_NAMES_2005[ZoneType2005.EASYRCLM],
)
Paths = dict[str, Any]
"""Values by their paths in the scenario."""


@dataclass(frozen=True)
class Change:
    """One change, and what came of it."""

    text: str
    paths: tuple[tuple[str, str], ...]
    """As for --set: path and value."""
    removed: int
    """Of the blocks that were asked for, those that went with it."""
    asked: int


def changes_for(
    trial: Trial, found: Sequence[Removed], block: int | None, node: int | None
) -> tuple[Change, ...]:
    """Try what could help, each alone, then all together if none is enough.

    Kept is what lets more blocks go than the trial did.
    """
    numbers = [one.row.block for one in found]
    gone = sum(one.outcome.removed for one in found)
    if gone == len(numbers):
        return ()

    def removed_with(paths: Paths) -> int:
        try:
            return _removed(changed(trial, paths), numbers)
        except (InputError, TrialError):
            return 0

    return tuple(tried(list(candidates(trial, found)), removed_with, len(numbers), gone))


def tried(
    candidates_: Sequence[tuple[str, Paths]],
    removed_with: Callable[[Paths], int],
    asked: int,
    gone: int,
) -> Iterator[Change]:
    """Try candidates one by one; if none lets everything go, try them together."""
    best, useful = gone, []
    for text, paths in candidates_:
        removed = removed_with(paths)
        if removed > gone:
            useful.append((text, paths))
            yield Change(text, _said(paths), removed, asked)
        best = max(best, removed)
    if best < asked and len(candidates_) > 1:
        both: Paths = {}
        for _, paths in candidates_:
            both |= paths
        removed = removed_with(both)
        if removed > best:
            text = "all of these together: " + "; ".join(text for text, _ in candidates_)
            yield Change(text, _said(both), removed, asked)


def candidates(trial: Trial, found: Sequence[Removed]) -> Iterator[tuple[str, Paths]]:
    """Think of what could help, by the reasons for which blocks stayed."""
    stayed = [one for one in found if not one.outcome.removed]
    reasons = {o.reason for one in stayed for o in one.outcome.obstacles}
    reasons |= {one.outcome.reason for one in stayed}
    if reasons & set(OF_THE_KERNEL):
        yield from _movable(trial, [one.row.block for one in stayed])
    if Reason.PINNED in reasons:
        yield from _unpinned(trial)
    if Reason.NO_HUGE_PAGE in reasons:
        yield from _larger_pool(trial, stayed)
    if Reason.NO_MEMORY in reasons:
        yield from _more_memory(trial, stayed)


def _movable(trial: Trial, blocks: Sequence[int]) -> Iterator[tuple[str, Paths]]:
    """Let the blocks lie in ZONE_MOVABLE: by firmware, or by the smallest movablecore=."""
    machine, spec = trial.scenario.machine, trial.spec
    if not machine.nodes:
        return
    cmdline = f"policies.{trial.policy}.cmdline"
    nodes = _nodes_of(trial, blocks)
    if 0 not in nodes:
        for node in sorted(nodes):
            paths: Paths = {
                f"machine.nodes.{node}.hotpluggable": True,
                cmdline: _with(spec.cmdline, "movable_node"),
            }
            yield f"firmware marks node {node} as hot-pluggable, and movable_node", paths
    size = _smallest_movable(trial, blocks)
    if size:
        word = f"movablecore={size >> 20}M"
        yield f"{word} (ZONE_MOVABLE of {format_bytes(size)})", {cmdline: _with(spec.cmdline, word)}


def _smallest_movable(trial: Trial, blocks: Sequence[int]) -> int:
    """Return the size of the smallest ZONE_MOVABLE that holds most of the blocks; 0: none does."""
    step = trial.scenario.machine.memory_block_size
    best, size_of_best = 0, 0
    for size in range(step, trial.scenario.machine.total, step):
        word = _with(trial.spec.cmdline, f"movablecore={size >> 20}M")
        try:
            held = _in_movable(changed(trial, {f"policies.{trial.policy}.cmdline": word}), blocks)
        except (InputError, TrialError):
            continue
        if held > best:
            best, size_of_best = held, size
        if best == len(blocks):
            break
    return size_of_best


def _in_movable(trial: Trial, blocks: Iterable[int]) -> int:
    """Count the blocks that lie in ZONE_MOVABLE when the machine has booted."""
    pages = trial.scenario.machine.memory_block_size // PAGE_SIZE
    ranges = [
        piece for zone in _booted(trial) if zone.name in MOVABLE_NAMES for piece in zone.pieces
    ]
    return sum(any(a <= b * pages and (b + 1) * pages <= e for a, e in ranges) for b in blocks)


def _nodes_of(trial: Trial, blocks: Iterable[int]) -> set[int]:
    pages = trial.scenario.machine.memory_block_size // PAGE_SIZE
    return {
        zone.node
        for zone in _booted(trial)
        for a, e in zone.pieces
        for b in blocks
        if a < (b + 1) * pages and b * pages < e
    }


def _booted(trial: Trial) -> Any:
    scenario = trial.scenario
    memory = start(
        scenario.machine,
        trial.profile,
        trial.spec.kernel,
        tables_of_trial(trial),
        scenario.directory,
        trial.seed,
    )
    return memory.setup.zones


def _unpinned(trial: Trial) -> Iterator[tuple[str, Paths]]:
    for name, spec in trial.scenario.workloads.items():
        if spec.params.get("pinned"):
            yield f"unpin the pages of {name}", {f"workloads.{name}.pinned": None}
    for i, event in enumerate(trial.scenario.events):
        if event.do == "pin":
            yield f"unpin the pages of {event.workload}", {f"events.{i}.share": 0}


def _larger_pool(trial: Trial, stayed: Sequence[Removed]) -> Iterator[tuple[str, Paths]]:
    """Let another node keep as many huge pages as the blocks' nodes do, from boot on."""
    machine = trial.scenario.machine
    gone = _nodes_of(trial, [one.row.block for one in stayed])
    others = [node.id for node in machine.nodes if node.total and node.id not in gone]
    pages = sum(machine.huge_pages[node] for node in gone)
    if others:
        node, more = others[0], machine.huge_pages[others[0]] + pages
        text = f"{more} huge pages in the pool of node {node}"
        yield text, {f"machine.nodes.{node}.nr_hugepages": more}


def _more_memory(trial: Trial, stayed: Sequence[Removed]) -> Iterator[tuple[str, Paths]]:
    """Give pages somewhere to go: as much more memory on the first node, or swap."""
    machine = trial.scenario.machine
    step = machine.memory_block_size
    short = sum(one.row.pages_left for one in stayed) * PAGE_SIZE
    extra = -(-max(short, 1) // step) * step
    text = format_bytes(extra)
    if machine.nodes and machine.swap is None:
        swap = {"size": extra}
        yield f"{text} of swap", {"machine.swap": swap}
    elsewhere = sorted({node.id for node in machine.nodes if node.cpus} or {0})
    if machine.nodes:
        node = elsewhere[0]
        more = machine.nodes[node].memory + extra
        yield f"{text} more memory on node {node}", {f"machine.nodes.{node}.memory": more}


def changed(trial: Trial, paths: Paths) -> Trial:
    """Return the trial with other values in its scenario."""
    return Trial(trial.scenario.at(paths), trial.policy, trial.point, trial.seed)


def _removed(trial: Trial, blocks: Iterable[int]) -> int:
    last = {one.row.block: one.outcome.removed for one in retrace(trial).removed}
    return sum(last.get(block, False) for block in blocks)


def _with(cmdline: str, word: str) -> str:
    key = word.partition("=")[0]
    kept = [w for w in cmdline.split() if w.partition("=")[0] not in (key, "kernelcore")]
    return " ".join([*kept, word])


def _said(paths: Paths) -> tuple[tuple[str, str], ...]:
    return tuple((path, as_text(value)) for path, value in paths.items())
