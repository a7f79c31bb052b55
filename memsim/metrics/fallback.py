"""Requests served from free blocks of another type, and what that did to pageblocks."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COUNTERS = {
    "events": "extfrag_events",
    "fragmenting": "extfrag_fragmenting",
    "change_ownership": "extfrag_change_ownership",
    "pageblocks_claimed": "pageblocks_claimed",
    "pages_stolen": "pages_stolen",
    "watermark_boosts": "watermark_boosts",
    "highatomic_reserved_blocks": "highatomic_reserved_blocks",
}
"""Column -> counter of the page allocator."""

COLUMNS = (
    Column("events", "events", "fall-backs to another type (mm_page_alloc_extfrag)", "lower"),
    Column("fragmenting", "events", "of these, from a block smaller than a pageblock", "lower"),
    Column("change_ownership", "events", "of these, that left the pageblock to the new type"),
    Column("pageblocks_claimed", "blocks", "pageblocks given to another type by fall-backs"),
    Column("pages_stolen", "pages", "free pages moved to the lists of another type"),
    Column("watermark_boosts", "events", "watermark boosts after fall-backs"),
    Column("highatomic_reserved_blocks", "blocks", "pageblocks reserved for HighAtomic"),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Read the counters of fall-backs, all zones together."""
    return {column: record.vmstat[counter] for column, counter in COUNTERS.items()}
