"""The judge: replay a capture of a real kernel on memsim's kernels and compare every page.

The replay runs free. Its input is the start state and, of each request, order, gfp flags, type,
CPU, time and the allocation that a free frees; the preferred node, which no event prints, is read
from the pfn. Zones, pfns, refills, drains, fall-backs and the end state are predictions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from memsim.fidelity.freerun import Prediction
from memsim.fidelity.recorded import Followed
from memsim.fidelity.window import NS_PER_S, replay
from memsim.kernels import layout as L
from memsim.kernels import trace_log
from memsim.memory import Memory
from memsim.mm import (
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    NR_PCP_LISTS,
    PAGEBLOCK_NR_PAGES,
    Migratetype,
)
from memsim.traces import TraceEvent, TraceTable
from memsim.traces.capture import Capture, CaptureState
from memsim.workloads.replay import TraceRequests

CONTEXT_LINES = 5
LOGGED = (
    ("mm_page_alloc_zone_locked", TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED, trace_log.LOG_ZONE_LOCKED),
    ("mm_page_pcpu_drain", TraceEvent.MM_PAGE_PCPU_DRAIN, trace_log.LOG_PCPU_DRAIN),
    ("mm_page_alloc_extfrag", TraceEvent.MM_PAGE_ALLOC_EXTFRAG, trace_log.LOG_EXTFRAG),
)


@dataclass(frozen=True)
class Quantity:
    """How often one kind of thing was seen, predicted, and equal in the same place."""

    name: str
    seen: int
    predicted: int
    equal: int

    @property
    def ratio(self) -> float:
        """Equal ones as a share of all, 1 where there is nothing to compare."""
        most = max(self.seen, self.predicted)
        return self.equal / most if most else 1.0


@dataclass(frozen=True)
class Divergence:
    """The first place where the prediction is not what the kernel did."""

    quantity: str
    index: int
    time_ns: int
    seen: str
    predicted: str
    context: tuple[str, ...]
    """Trace lines around it; the line itself begins with ``>``."""

    def lines(self) -> list[str]:
        """Say what diverged, and show the trace around it."""
        return [
            f"first divergence: {self.quantity} {self.index} at {self.time_ns / NS_PER_S:.6f} s: "
            f"seen {self.seen}, predicted {self.predicted}",
            *self.context,
        ]


@dataclass(frozen=True)
class FidelityReport:
    """What ``memsim fidelity`` says about one capture."""

    capture: str
    quantities: tuple[Quantity, ...]
    first_divergence: Divergence | None
    stopped_at: str
    inferred_pages: int
    """Pages taken by bulk allocations, which print nothing, inferred from the lists."""
    notes: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Everything that was seen was predicted, and nothing else."""
        return all(q.equal == q.seen == q.predicted for q in self.quantities)

    def to_json(self) -> str:
        """Return one JSON object: capture, quantities, first_divergence, stopped_at and notes."""
        quantities = [{**asdict(q), "ratio": q.ratio} for q in self.quantities]
        return json.dumps({**asdict(self), "quantities": quantities}, indent=2)

    def to_text(self) -> str:
        """Return one line per quantity, the first divergence, and where the replay stopped."""
        lines = [f"{self.capture}", f"  {'':28}{'seen':>10}{'predicted':>12}{'equal':>10}  ratio"]
        lines += [
            f"  {q.name:28}{q.seen:>10,}{q.predicted:>12,}{q.equal:>10,}  {q.ratio:.6f}"
            for q in self.quantities
        ]
        lines.append(f"stopped at {self.stopped_at}")
        lines += self.notes
        if self.first_divergence is None:
            return "\n".join([*lines, "no divergence"])
        return "\n".join([*lines, *self.first_divergence.lines()])


def judge(capture: Capture) -> FidelityReport:
    """Replay a capture from its start state and compare all that the kernel printed.

    Raises InputError for requests that the start state's machine cannot have made.
    """
    window, requests, run, switch, followed, moved = replay(capture)
    trace = window.trace
    compared = [_compare_allocs(trace, requests, run)]
    edges = [0] if followed is None else [zone.start_pfn for zone in capture.start.zones]
    compared += [_compare_logged(trace, run, edges, *kind) for kind in LOGGED]
    quantities = [quantity for quantity, _ in compared]
    if window.whole and capture.end is not None:
        quantities += compare_end(run.memory, capture.end)
    if moved is not None:
        quantities.append(Quantity("pages migrated", *moved))
    if followed is not None:
        quantities += _of_compaction(followed)
        compared.append((quantities[-1], _divergence(followed)))
    firsts = [divergence for _, divergence in compared if divergence is not None]
    return FidelityReport(
        capture=capture.name,
        quantities=tuple(quantities),
        first_divergence=min(firsts, key=lambda d: (d.time_ns, d.index), default=None),
        stopped_at=window.stopped_at,
        inferred_pages=run.inferred_pages,
        notes=_notes(capture, requests, run, switch),
    )


def _notes(
    capture: Capture, requests: TraceRequests, run: Prediction, switch: int | None
) -> tuple[str, ...]:
    notes = []
    if len({zone.node for zone in capture.start.zones}) > 1:
        notes.append("the preferred node of each request is read from the pfn")
    if run.inferred_pages:
        notes.append(
            f"{run.inferred_pages} pages were taken by bulk allocations, which print nothing; "
            "inferred from the per-CPU lists and confirmed by their later frees"
        )
    if run.not_held:
        notes.append(f"{run.not_held} frees of pages that no line had allocated were left out")
    if switch is not None:
        at = capture.trace.time[0] if switch >= len(requests.row) else requests.batch.time[switch]
        notes.append(f"grouping by mobility is switched off at {at / NS_PER_S:.6f} s")
    if capture.trace.accounting.lost_events:
        notes.append(f"the trace lost {capture.trace.accounting.lost_events} events")
    return tuple(notes)


# --- comparing ------------------------------------------------------------------------------


def _compare_allocs(
    trace: TraceTable, requests: TraceRequests, run: Prediction
) -> tuple[Quantity, Divergence | None]:
    """Compare the pfns handed out; a failure that was predicted is equal too."""
    allocs = requests.allocs()
    rows = requests.row[allocs]
    seen, predicted = trace.pfn[rows], run.pfn[allocs]
    wrong = np.flatnonzero(seen != predicted)
    quantity = Quantity("mm_page_alloc", len(seen), len(seen), len(seen) - len(wrong))
    if len(wrong) == 0:
        return quantity, None
    i = int(wrong[0])
    return quantity, Divergence(
        quantity.name,
        i,
        int(trace.time[rows[i]]),
        _page(int(seen[i])),
        _page(int(predicted[i])),
        _context(trace, int(rows[i])),
    )


def _of_compaction(followed: Followed) -> list[Quantity]:
    return [
        Quantity("compaction events", followed.seen, followed.predicted, followed.equal),
        Quantity("pages migrated", followed.moved_seen, followed.moved, followed.moved_equal),
    ]


def _divergence(followed: Followed) -> Divergence | None:
    found = followed.difference
    if found is None:
        return None
    name = "compaction event"
    return Divergence(name, found.index, found.time_ns, found.seen, found.predicted, found.context)


def _compare_logged(
    trace: TraceTable,
    run: Prediction,
    edges: list[int],
    name: str,
    event: TraceEvent,
    kind: int,
) -> tuple[Quantity, Divergence | None]:
    """Compare one kind of printed event, position by position, in each stretch between edges.

    While a run of compaction is taken in steps, what others do meanwhile in other zones comes after
    the step: there is one stretch per zone.
    """
    rows = np.flatnonzero(trace.event == event)
    seen = np.stack([column[rows] for column in _columns(trace, event)], axis=1)
    predicted = run.log[run.log[:, 1] == kind][:, 2 : 2 + seen.shape[1]]
    quantity = Quantity(name, 0, 0, 0)
    first: Divergence | None = None
    where = np.searchsorted(edges, seen[:, 0], side="right")
    expected = np.searchsorted(edges, predicted[:, 0], side="right")
    for stretch in range(len(edges) + 1):
        at = rows[where == stretch]
        these, those = seen[where == stretch], predicted[expected == stretch]
        n = min(len(these), len(those))
        wrong = np.flatnonzero((these[:n] != those[:n]).any(axis=1))
        quantity = replace(
            quantity,
            seen=quantity.seen + len(these),
            predicted=quantity.predicted + len(those),
            equal=quantity.equal + n - len(wrong),
        )
        if len(wrong) == 0 and len(these) == len(those):
            continue
        i = int(wrong[0]) if len(wrong) else n
        row = int(at[i]) if i < len(at) else len(trace) - 1
        time = int(trace.time[row]) if len(trace) else 0
        if first is None or time < first.time_ns:
            index = int(np.searchsorted(rows, row))
            said = _block(these, i), _block(those, i)
            first = Divergence(name, index, time, *said, _context(trace, row))
    return quantity, first


def _columns(trace: TraceTable, event: TraceEvent) -> tuple[NDArray[np.generic], ...]:
    columns: tuple[NDArray[np.generic], ...] = (trace.pfn, trace.order, trace.migratetype)
    if event == TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED:
        columns += (trace.percpu_refill,)
    if event == TraceEvent.MM_PAGE_ALLOC_EXTFRAG:
        columns += (trace.fallback_order, trace.fallback_migratetype, trace.change_ownership)
    return columns


def compare_end(memory: Memory, end: CaptureState) -> list[Quantity]:
    """Compare free lists, per-CPU lists, free_factor and pageblock types, in order."""
    free = Quantity("end_free_lists", 0, 0, 0)
    lists = Quantity("end_pcp_lists", 0, 0, 0)
    factor = Quantity("end_free_factor", 0, 0, 0)
    types = Quantity("end_pageblock_types", 0, 0, 0)
    empty = np.zeros(0, np.int32)
    for z, zone in enumerate(end.zones):
        for order in range(NR_PAGE_ORDERS):
            for kind in range(MIGRATE_TYPES):
                seen = zone.free.get((order, Migratetype(kind)), empty)
                free = _add(free, seen, memory.free_list(z, order, kind))
        for pcp in zone.pcp:
            for pindex in range(NR_PCP_LISTS):
                seen = pcp.lists.get(pindex, empty)
                lists = _add(lists, seen, memory.pcp_list(z, pcp.cpu, pindex))
            predicted = memory.pcp_field(z, pcp.cpu, L.P_FREE_FACTOR)
            factor = _add(factor, np.array([pcp.free_factor]), np.array([predicted]))
        first = zone.start_pfn // PAGEBLOCK_NR_PAGES
        own = np.flatnonzero(zone.pageblocks <= Migratetype.ISOLATE)
        types = _add(types, zone.pageblocks[own], memory.mem.pageblocks[first + own])
    return [free, lists, factor, types]


def _add(q: Quantity, seen: NDArray[np.generic], predicted: NDArray[np.generic]) -> Quantity:
    n = min(len(seen), len(predicted))
    equal = int(np.count_nonzero(seen[:n] == predicted[:n]))
    return replace(
        q, seen=q.seen + len(seen), predicted=q.predicted + len(predicted), equal=q.equal + equal
    )


# --- saying it -------------------------------------------------------------------------------


def _page(pfn: int) -> str:
    return f"pfn={pfn:#x}" if pfn >= 0 else "failed"


def _block(rows: NDArray[np.generic], i: int) -> str:
    if i >= len(rows):
        return "nothing"
    pfn, order, migratetype, *rest = (int(x) for x in rows[i])
    more = "".join(f" {x}" for x in rest)
    return f"pfn={pfn:#x} order={order} migratetype={migratetype}{more}"


def _context(trace: TraceTable, row: int) -> tuple[str, ...]:
    rows: Iterable[int] = range(max(0, row - CONTEXT_LINES), min(len(trace), row + CONTEXT_LINES))
    return tuple(f"{'>' if r == row else ' '} {trace.line(r)}" for r in rows)
