"""Metrics that answer what people ask first."""

from __future__ import annotations

HEADLINES = {
    "hotplug.blocks_removed": "memory blocks taken offline",
    "hotplug.removable_blocks": "memory blocks that could be removed",
    "migration.success_ratio": "of the pages moved",
    "high_order.success_ratio": "of the attempts to get a large block succeeded",
    "fragmentation.unusable_index": "thousandths of free memory too broken for large blocks",
    "pageblocks.mixed": "pageblocks that hold more than one type",
    "fallback.events": "requests served from another type's memory",
}
"""What people ask first, in this order, in their words; else the first metric with a verdict."""
