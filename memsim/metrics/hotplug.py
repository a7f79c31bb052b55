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
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Count hot-pluggable memory; unmovable pages are blank where there is none."""
    total = sum(zone.hotpluggable_pages for zone in record.zones)
    unmovable = int(record.census.unmovable_hotpluggable.sum())
    return {"hotpluggable_pages": total, "unmovable_pages": unmovable if total else None}
