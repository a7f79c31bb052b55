"""What a tracer would have printed of a trial: the events of kmem, compaction and migration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from memsim.kernels import layout as L
from memsim.kernels import trace_log as T
from memsim.kernels.compact_control import MIGRATE_ASYNC
from memsim.mm import OP_FREE, PAGEBLOCK_ORDER, MigrateReason, Status
from memsim.scenario import Trial
from memsim.simulate.probes import gfp_text
from memsim.simulate.tracing import Traced, Tracing
from memsim.traces import TRIAL_BEGINS
from memsim.traces.capture import COMPACTION_RESULTS

HEADER = """\
# tracer: nop
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""
PAGE, NO_PAGE = "(____ptrval____)", "0000000000000000"
"""Addresses are hashed, as by default; no allocation prints a null pointer."""
FAILED = (Status.NOPAGE, Status.NEEDS_RECLAIM)
PLAIN = re.compile(r"[^A-Za-z0-9_.:/-]")
COMM_CHARACTERS = 15
FIRST_PID = 1000
KERNEL = f"{'memsim':>16}-{FIRST_PID - 1:<7}"
REASONS: dict[int, str] = {
    int(MigrateReason.SYSCALL): "syscall_or_cpuset",
    **{int(r): r.name.lower() for r in MigrateReason if r != MigrateReason.SYSCALL},
}
MODES = ("MIGRATE_ASYNC", "MIGRATE_SYNC_LIGHT", "MIGRATE_SYNC")
Row = list[int]


def lines(trial: Trial, stop_ns: int | None = None) -> Iterator[str]:
    """Yield the text of tracefs' ``trace``, some lines at a time (spec trace-formats 1, 2 and 4).

    Times are the trial's, to the microsecond as the kernel prints them, or where they lie between
    two, to the nanosecond as trace-cmd report -t does. The task is the workload.
    Raises what ``simulate`` raises, and TrialError for a trial that cannot be carried out.
    """
    run = Tracing(trial)
    text = _Text(run)
    yield HEADER + text.begin()
    for piece in run.pieces(stop_ns):
        yield "".join(text.of(piece))


class _Text:
    """Lines of one run."""

    def __init__(self, run: Tracing) -> None:
        self.run = run
        requests = run.requests()
        self.gfp = [gfp_text(request.gfp) for request in requests]
        rows = run.memory.request_rows.reshape(-1, L.REQUEST_FIELDS)
        self.types = rows[:, L.R_MIGRATETYPE].tolist()
        self.tasks = [
            f"{PLAIN.sub('_', name)[:COMM_CHARACTERS]:>16}-{FIRST_PID + i:<7}"
            for i, name in enumerate(run.names)
        ]
        self.is_sync = False

    def begin(self) -> str:
        """Mark the trial's beginning, from which a replay counts."""
        return f"{self._head(KERNEL, 0, 0)}tracing_mark_write: {TRIAL_BEGINS}\n"

    def of(self, piece: Traced) -> Iterator[str]:
        """Yield the lines of a piece: what led to an allocation stands before it, not after."""
        log = piece.log.tolist()
        at, end = 0, len(log)
        status, pfn = piece.outcome.status.tolist(), piece.outcome.pfn.tolist()
        columns = (column.tolist() for column in piece.events)
        for i, (op, request, cpu, _, time) in enumerate(zip(*columns, strict=True)):
            head = self._head(self.tasks[int(piece.stream[i])], cpu, time)
            last = at
            while last < end and log[last][0] <= i:
                last += 1
            caused = [line for row in log[at:last] if (line := self._logged(row, head))]
            at = last
            own = self._event(op, request, status[i], pfn[i], head)
            if op & OP_FREE:
                yield own
                yield from caused
            else:
                yield from caused
                yield own
        head = self._head(KERNEL, 0, piece.now)
        yield from (line for row in log[at:] if (line := self._logged(row, head)))

    def _head(self, task: str, cpu: int, time: int) -> str:
        seconds, rest = divmod(time, 1_000_000_000)
        stamp = f"{rest:09}" if rest % 1000 else f"{rest // 1000:06}"
        return f"{task} [{cpu:03}] ..... {seconds:5}.{stamp}: "

    def _event(self, op: int, request: int, status: int, pfn: int, head: str) -> str:
        order = op & 0xF
        if status == Status.FREED:
            return f"{head}mm_page_free: page={PAGE} pfn={pfn:#x} order={order}\n"
        if status not in (Status.OK, *FAILED):
            return ""
        page, number = (PAGE, pfn) if status == Status.OK else (NO_PAGE, 0)
        return (
            f"{head}mm_page_alloc: page={page} pfn={number:#x} order={order} "
            f"migratetype={self.types[request]} gfp_flags={self.gfp[request]}\n"
        )

    def _logged(self, row: Row, head: str) -> str:
        """Write a row of the log; empty for one that no tracer prints."""
        _, kind, *fields = row
        write = _WRITERS.get(kind)
        body = write(self, fields) if write else ""
        return f"{head}{body}\n" if body else ""

    def zone_locked(self, row: Row) -> str:
        pfn, order, migratetype, refill, *_ = row
        return (
            f"mm_page_alloc_zone_locked: page={PAGE} pfn={pfn:#x} order={order} "
            f"migratetype={migratetype} percpu_refill={refill}"
        )

    def pcpu_drain(self, row: Row) -> str:
        pfn, order, migratetype, *_ = row
        return (
            f"mm_page_pcpu_drain: page={PAGE} pfn={pfn:#x} order={order} migratetype={migratetype}"
        )

    def extfrag(self, row: Row) -> str:
        pfn, order, migratetype, fallback_order, fallback, change_ownership = row
        return (
            f"mm_page_alloc_extfrag: page={PAGE} pfn={pfn:#x} alloc_order={order} "
            f"fallback_order={fallback_order} pageblock_order={PAGEBLOCK_ORDER} "
            f"alloc_migratetype={migratetype} fallback_migratetype={fallback} "
            f"fragmenting={int(fallback_order < PAGEBLOCK_ORDER)} "
            f"change_ownership={change_ownership}"
        )

    def free(self, row: Row) -> str:
        return f"mm_page_free: page={PAGE} pfn={row[0]:#x} order={row[1]}"

    def migrate_pages(self, row: Row) -> str:
        succeeded, failed, thp_succeeded, thp_failed, thp_split, why = row
        return (
            f"mm_migrate_pages: nr_succeeded={succeeded} nr_failed={failed} "
            f"nr_thp_succeeded={thp_succeeded} nr_thp_failed={thp_failed} "
            f"nr_thp_split={thp_split} mode={MODES[why >> 4]} "
            f"reason={REASONS[why & 0xF]}"
        )

    def compaction(self, row: Row) -> str:
        pfn, event, *fields = row
        if event == T.COMPACTION_BEGIN:
            self.is_sync = fields[3] != MIGRATE_ASYNC
            return f"mm_compaction_begin: {self._span(pfn, fields[0], fields[1])}"
        if event == T.COMPACTION_END:
            span = self._span(pfn, fields[0], fields[1])
            return f"mm_compaction_end: {span} status={COMPACTION_RESULTS[fields[3]]}"
        if event in _RANGES:
            end, scanned, taken, _ = fields
            range_ = f"range=({pfn:#x} ~ {end:#x})"
            return f"{_RANGES[event]}: {range_} nr_scanned={scanned} nr_taken={taken}"
        if event == T.COMPACTION_MIGRATEPAGES:
            return f"mm_compaction_migratepages: nr_migrated={fields[0]} nr_failed={fields[1]}"
        zone = self.run.memory.setup.zones[fields[0]]
        return (
            f"mm_compaction_finished: node={zone.node} zone={zone.name:<8} order={fields[1]} "
            f"ret={COMPACTION_RESULTS[fields[2]]}"
        )

    def _span(self, pfn: int, free_pfn: int, z: int) -> str:
        zone = self.run.memory.setup.zones[z]
        mode = "sync" if self.is_sync else "async"
        return (
            f"zone_start={zone.start_pfn:#x} migrate_pfn={pfn:#x} free_pfn={free_pfn:#x} "
            f"zone_end={zone.end_pfn:#x}, mode={mode}"
        )


_RANGES = {
    T.COMPACTION_ISOLATE_MIGRATEPAGES: "mm_compaction_isolate_migratepages",
    T.COMPACTION_ISOLATE_FREEPAGES: "mm_compaction_isolate_freepages",
}
_WRITERS: dict[int, Callable[[_Text, Row], str]] = {
    T.LOG_ZONE_LOCKED: _Text.zone_locked,
    T.LOG_PCPU_DRAIN: _Text.pcpu_drain,
    T.LOG_EXTFRAG: _Text.extfrag,
    T.LOG_FREE: _Text.free,
    T.LOG_COMPACTION: _Text.compaction,
    T.LOG_MIGRATE_PAGES: _Text.migrate_pages,
}
