"""How requests fared."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COLUMNS = (
    Column("attempts", "requests", "allocations that were asked for"),
    Column("succeeded", "requests", "allocations that got their block", better="higher"),
    Column("success_ratio", "1", "succeeded / attempts", better="higher", dtype="float64"),
    Column("nopage", "requests", "failed, and may not reclaim", better="lower"),
    Column(
        "needs_reclaim",
        "requests",
        "failed here; Linux would have gone on to reclaim or compaction",
        better="lower",
    ),
    Column("slowpath", "requests", "left the fast path", better="lower"),
    Column("kswapd_wakeups", "events", "wake-ups of kswapd", better="lower"),
    Column("pages", "pages", "pages handed out (pgalloc)"),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Read the counters of the page allocator."""
    vmstat = record.vmstat
    succeeded = vmstat["alloc_success"]
    attempts = succeeded + vmstat["alloc_nopage"] + vmstat["alloc_needs_reclaim"]
    return {
        "attempts": attempts,
        "succeeded": succeeded,
        "success_ratio": succeeded / attempts if attempts else None,
        "nopage": vmstat["alloc_nopage"],
        "needs_reclaim": vmstat["alloc_needs_reclaim"],
        "slowpath": vmstat["slowpath"],
        "kswapd_wakeups": vmstat["kswapd_wakeups"],
        "pages": sum(count for name, count in vmstat.items() if name.startswith("pgalloc_")),
    }
