"""What became of pages that were to be migrated: moved, sent to swap, or left, and why."""

from __future__ import annotations

from memsim.mm import WhyStayed
from memsim.schema import Column, TrialRecord

DOCS = {
    WhyStayed.PINNED: "stayed for references that no page table explains",
    WhyStayed.LOCKED: "stayed for a lock that somebody held to the end",
    WhyStayed.WRITEBACK: "stayed while they were being written",
    WhyStayed.BUFFERS: "stayed for buffers that cannot be let go",
    WhyStayed.NO_OPERATION: "stayed because their file system cannot migrate them",
    WhyStayed.SHARED: "stayed because other processes map them too",
    WhyStayed.NOT_ON_LRU: "stayed because they were on no LRU list",
    WhyStayed.NO_MEMORY: "stayed for want of a free page on their new node",
    WhyStayed.NO_SWAP: "stayed for want of a free swap slot",
    WhyStayed.NOT_TRIED: "were not tried: the call had ended",
}
COLUMNS = (
    Column("attempted", "pages", "pages that were not where they were to be"),
    Column(
        "success_ratio",
        "1",
        "moved, directly or by way of swap / attempted",
        better="higher",
        dtype="float64",
    ),
    Column("moved_direct", "pages", "pages copied to their new place", better="higher"),
    Column("moved_swap", "pages", "pages sent to swap or their file, to come back elsewhere"),
    *(Column(f"stayed_{why.name.lower()}", "pages", DOCS[why], better="lower") for why in DOCS),
    Column("model_ns", "ns", "simulated time that migrations took", better="lower"),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Add up the migrations of a trial; all is blank where there was none."""
    moves = record.migrations
    if not moves:
        return {column.name: None for column in COLUMNS}
    attempted = sum(move.attempted for move in moves)
    direct = sum(move.moved_direct for move in moves)
    swapped = sum(move.moved_swap for move in moves)
    return {
        "attempted": attempted,
        "success_ratio": (direct + swapped) / attempted if attempted else None,
        "moved_direct": direct,
        "moved_swap": swapped,
        **{
            f"stayed_{why.name.lower()}": sum(move.stayed[why] for move in moves)
            for why in WhyStayed
        },
        "model_ns": sum(move.migrate_model_ns for move in moves),
    }
