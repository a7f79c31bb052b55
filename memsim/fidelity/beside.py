"""What if: the requests of one capture under another policy, beside what a kernel did under it.

Another kernel never makes the very same requests from the very same start. So every run says whose
requests it makes, from whose start state, and how many of its frees find nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from memsim import plugins
from memsim.errors import InputError, Problem, suggest
from memsim.fidelity.window import Replayed, replay
from memsim.kernels.placement import PolicyTables
from memsim.memory.restore import restore
from memsim.mm import PAGEBLOCK_ORDER, Status
from memsim.policies import LINUX_6_1, mobility, none
from memsim.policies._validity import tables_of
from memsim.schema import AllocBatch
from memsim.traces import TraceEvent
from memsim.traces.capture import Capture
from memsim.workloads.replay import TraceRequests

PROFILE = "linux-6.1"
InForce = tuple[int, str, PolicyTables]
"""The event from which on a policy is in force, its name and tables."""


@dataclass(frozen=True)
class Ran:
    """One run: whose requests, from where, under what, and its fall-backs."""

    who: str
    """``kernel`` or ``memsim``."""
    requests: str
    start: str
    policy: str
    allocations: int
    failed: int
    """Allocations that got nothing; in Linux some would have gone on to reclaim."""
    fallbacks: int
    fragmenting: int
    """Fall-backs to a block smaller than a pageblock."""
    change_ownership: int
    not_held: int
    """Frees of pages that the start state does not have allocated, or that were not got."""


COLUMNS = (
    ("", "who"),
    ("requests of", "requests"),
    ("start of", "start"),
    ("policy", "policy"),
    ("allocations", "allocations"),
    ("failed", "failed"),
    ("fallbacks", "fallbacks"),
    ("fragmenting", "fragmenting"),
    ("change owner", "change_ownership"),
    ("frees of nothing", "not_held"),
)
TEXTS = 4


@dataclass(frozen=True)
class Beside:
    """All runs side by side."""

    runs: tuple[Ran, ...]
    notes: tuple[str, ...]
    exact: bool
    """memsim falls back as often as the kernel did wherever it replays what was recorded."""

    def to_json(self) -> str:
        """Return one JSON object: runs, notes and exact."""
        return json.dumps(asdict(self), indent=2)

    def to_text(self) -> str:
        """Return a table of the runs, and what to know when comparing them."""
        rows = [[head for head, _ in COLUMNS]]
        rows += [[_shown(getattr(run, name)) for _, name in COLUMNS] for run in self.runs]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                text.ljust(width) if i < TEXTS else text.rjust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *self.notes])


def beside(capture: Capture, placement: str, other: Capture | None) -> Beside:
    """Replay a capture under another policy, beside the kernel's own runs.

    The policy is put in force from the first event, and, if grouping by mobility was switched off
    in the trace of ``other``, also after as many events as there; both from the start of
    ``capture`` and from that of ``other``. Raises InputError for a policy that the kernel of the
    captures cannot have.
    """
    tables = _tables(placement)
    own = replay(capture, follow=False)
    known = (
        [(capture, own)]
        if other is None
        else [(capture, own), (other, replay(other, follow=False))]
    )
    recorded = [(_printed(*one), _as_recorded(*one)) for one in known]
    switch = None if other is None else known[1][1].switch
    asked = [
        _what_if(capture, own.requests, start, (placement, tables), event)
        for start, _ in known
        for event in ([0] if switch is None else [0, switch])
    ]
    return Beside(
        runs=(*recorded[0], *asked, *(run for pair in recorded[1:] for run in pair)),
        notes=tuple(note for one in known for note in _notes(*one)),
        exact=all(kernel.fallbacks == memsim.fallbacks for kernel, memsim in recorded),
    )


def _tables(placement: str) -> PolicyTables:
    fits = [
        name
        for name in plugins.offered("policies")
        if PROFILE in getattr(plugins.model_of("policies", name), "PROFILES", ())
    ]
    if placement not in fits:
        message = f'there is no policy "{placement}" of {PROFILE}, the kernel of captures'
        raise InputError([Problem("--policy", 0, 0, message, suggest(placement, fits))])
    return tables_of(placement, plugins.build("policies", placement, {}), LINUX_6_1)


def _printed(capture: Capture, replayed: Replayed) -> Ran:
    """Count what the kernel printed."""
    trace = replayed.window.trace
    allocs = replayed.requests.allocs()
    printed = trace.select(trace.event == TraceEvent.MM_PAGE_ALLOC_EXTFRAG)
    return Ran(
        who="kernel",
        requests=capture.name,
        start=capture.name,
        policy=_named(_own_policies(capture, replayed.switch)),
        allocations=len(allocs),
        failed=int((trace.pfn[replayed.requests.row[allocs]] < 0).sum()),
        fallbacks=len(printed),
        fragmenting=int((printed.fallback_order < PAGEBLOCK_ORDER).sum()),
        change_ownership=int(printed.change_ownership.astype(bool).sum()),
        not_held=0,
    )


def _as_recorded(capture: Capture, replayed: Replayed) -> Ran:
    policies = _own_policies(capture, replayed.switch)
    return _carry_out(capture, replayed.requests, capture, policies)


def _what_if(
    capture: Capture,
    requests: TraceRequests,
    start: Capture,
    policy: tuple[str, PolicyTables],
    event: int,
) -> Ran:
    before = _own_policies(capture, None) if event else []
    return _carry_out(capture, requests, start, [*before, (event, *policy)])


def _carry_out(
    capture: Capture, requests: TraceRequests, start: Capture, policies: Sequence[InForce]
) -> Ran:
    """Make the requests of a capture from a start state, each policy in force from its event on."""
    memory = restore(start.start, policies[0][2])
    memory.add_requests(requests.requests)
    memory.add_handles(requests.handles)
    memory.hold(requests.allocations, requests.before)
    batch = requests.batch
    status = []
    edges = [*(event for event, _, _ in policies), len(requests.row)]
    for (first, stop), (_, _, tables) in zip(pairwise(edges), policies, strict=True):
        memory.set_policy(tables)
        part = AllocBatch._make(column[first:stop] for column in batch)
        status.append(memory.run(part.op, part.request, part.cpu, part.handle).status)
    became = np.bincount(np.concatenate(status), minlength=len(Status))
    vmstat = memory.vmstat()
    return Ran(
        who="memsim",
        requests=capture.name,
        start=start.name,
        policy=_named(policies),
        allocations=len(requests.allocs()),
        failed=int(became[Status.NOPAGE] + became[Status.NEEDS_RECLAIM]),
        fallbacks=vmstat["extfrag_events"],
        fragmenting=vmstat["extfrag_fragmenting"],
        change_ownership=vmstat["extfrag_change_ownership"],
        not_held=int(became[Status.NOT_HELD]),
    )


def _own_policies(capture: Capture, switch: int | None) -> list[InForce]:
    """Return what the kernel of a capture had in force, and from which event on."""
    off = (switch or 0, "none", none.Policy().tables(LINUX_6_1))
    if capture.start.group_by_mobility_disabled:
        return [off]
    on = (0, "mobility", mobility.Policy().tables(LINUX_6_1))
    return [on] if switch is None else [on, off]


def _named(policies: Sequence[InForce]) -> str:
    later = [f"{name} from event {event:,}" for event, name, _ in policies[1:]]
    return ", ".join([policies[0][1], *later])


def _notes(capture: Capture, replayed: Replayed) -> Iterator[str]:
    yield f"{capture.name}: up to {replayed.window.stopped_at}"
    if replayed.switch is not None:
        yield f"{capture.name}: grouping was switched off before event {replayed.switch:,}"
    if replayed.run.inferred_pages:
        yield (
            f"{capture.name}: {replayed.run.inferred_pages} pages of bulk allocations, which print "
            "nothing, are not taken here"
        )


def _shown(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
