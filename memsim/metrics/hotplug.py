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
    Column("removable_bytes", "bytes", "memory of the removable blocks", better="higher"),
    Column("blocks_tried", "blocks", "memory blocks that were to be taken offline"),
    Column("blocks_removed", "blocks", "of these, taken offline", better="higher"),
    Column("removed_bytes", "bytes", "memory that was taken offline", better="higher"),
    Column("pages_moved", "pages", "pages migrated out of blocks that were to go"),
    Column("model_ns", "ns", "simulated time that removals took", better="lower"),
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
        "removable_bytes": blocks.removable * record.memory_block_size,
    }
    return {
        "hotpluggable_pages": total,
        **{k: n if total else None for k, n in found.items()},
        **_removals(record),
    }


def _removals(record: TrialRecord) -> dict[str, int | float | None]:
    tried = [
        block
        for block in record.removals
        if (block.result != "taken" and block.errno != "") or block.result == "offline"
    ]
    gone = sum(block.result == "offline" and block.errno == "" for block in tried)
    found = {
        "blocks_tried": len(tried),
        "blocks_removed": gone,
        "removed_bytes": gone * record.memory_block_size,
        "pages_moved": sum(block.pages_moved for block in tried),
        "model_ns": sum(block.offline_model_ns for block in tried),
    }
    return {name: value if tried else None for name, value in found.items()}
