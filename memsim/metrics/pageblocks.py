"""Pageblocks at the end, by type, and how many are mixed."""

from __future__ import annotations

from memsim.mm import MIGRATETYPE_NAMES, NR_PLACEMENT_TYPES
from memsim.schema import Column, TrialRecord

NAMES = tuple(name.lower() for name in MIGRATETYPE_NAMES)
OLD_NAMES = (*NAMES[: NR_PLACEMENT_TYPES - 1], "fallback")
"""Types of the policies of 2005 by number: NORCLM, EASYRCLM, KERNRCLM and the reserve FALLBACK."""
COLUMN_NAMES = tuple(dict.fromkeys((*NAMES, *OLD_NAMES)))
MIXED = "hold allocations of more than one of unmovable, movable and reclaimable"

COLUMNS = (
    *(Column(name, "blocks", f"pageblocks of type {name}") for name in COLUMN_NAMES),
    Column("pages_each", "pages", "size of a pageblock"),
    Column("mixed", "blocks", f"polluted pageblocks: those that {MIXED}", better="lower"),
    Column(
        "mixed_areas",
        "areas",
        f"aligned areas as large as the largest block that {MIXED}",
        better="lower",
    ),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Count the pageblocks of all zones; blank for types that the kernel or the policy lacks."""
    names = NAMES
    if record.grouped:
        names = NAMES[:NR_PLACEMENT_TYPES]
    elif record.old_types is not None:
        names = OLD_NAMES[: record.old_types] if record.old_types > 1 else ()
    counts = record.census.pageblocks.sum(axis=0)
    known = {name: int(n) for name, n in zip(names, counts, strict=False)}
    return {
        **{name: known.get(name) for name in COLUMN_NAMES},
        "pages_each": 1 << record.pageblock_order,
        "mixed": int(record.census.mixed_pageblocks.sum()),
        "mixed_areas": int(record.census.mixed_areas.sum()),
    }
