"""What stands in the way of removing memory."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COLUMNS = (
    Column("hotpluggable_pages", "pages", "pages in memory that is meant to be removed"),
    Column(
        "unmovable_pages",
        "pages",
        "allocated pages that cannot be migrated and lie in memory that is meant to be removed",
        better="lower",
    ),
    Column("memory_blocks", "blocks", "memory blocks that are meant to be removed"),
    Column(
        "removable_blocks",
        "blocks",
        "of these, without a page that cannot be migrated or was kept at boot",
        better="higher",
    ),
    Column("free_blocks", "blocks", "of these, without any allocated page", better="higher"),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Count hot-pluggable memory; all else is blank where there is none."""
    total = sum(zone.hotpluggable_pages for zone in record.zones)
    blocks = record.census.memory_blocks
    found = {
        "unmovable_pages": int(record.census.unmovable_hotpluggable.sum()),
        "memory_blocks": blocks.total,
        "removable_blocks": blocks.removable,
        "free_blocks": blocks.free,
    }
    return {"hotpluggable_pages": total, **{k: n if total else None for k, n in found.items()}}
