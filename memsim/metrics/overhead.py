"""What a policy has the allocator do besides serving requests: the objection of 2005."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COUNTERS = {
    "list_probes": "list_probes",
    "pages_moved": "pages_stolen",
    "pageblock_conversions": "pageblocks_claimed",
    "refills": "pcp_refills",
    "drained_blocks": "pcp_drained_blocks",
}
"""Column -> counter of the page allocator."""
UNITS = {
    "list_probes": ("events", "free lists looked at for a block"),
    "pages_moved": ("pages", "free pages moved to the lists of another type"),
    "pageblock_conversions": ("blocks", "pageblocks given to another type"),
    "refills": ("events", "refills of per-CPU lists"),
    "drained_blocks": ("blocks", "blocks that per-CPU lists gave back to the buddy lists"),
}
MILLION = 10**6

COLUMNS = (
    *(Column(name, *UNITS[name]) for name in COUNTERS),
    *(
        Column(
            f"{name}_per_million",
            unit,
            f"{doc}, per million allocations",
            better="lower",
        )
        for name, (unit, doc) in UNITS.items()
    ),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Read the counters; per million is rounded down, and blank without allocations."""
    counts = {column: record.vmstat[counter] for column, counter in COUNTERS.items()}
    served = record.vmstat["alloc_success"]
    per_million = {
        f"{name}_per_million": count * MILLION // served if served else None
        for name, count in counts.items()
    }
    return {**counts, **per_million}
