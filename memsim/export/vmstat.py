"""/proc/vmstat: the machine's gauges and event counters, those that memsim has."""

from __future__ import annotations

from collections import Counter

from memsim.export._gauges import Gauges, node_gauges, zone_gauges
from memsim.memory import Memory

OWN = frozenset(
    {
        "alloc_success", "alloc_nopage", "alloc_needs_reclaim", "slowpath", "kswapd_wakeups",
        "frees_not_held", "slab_pages_freed", "pgskip", "allocstall", "compact_migrated",
        "compact_not_migrated", "highatomic_unreserved_blocks", "stall_model_ns",
        "kswapd_model_ns", "kcompactd_model_ns", "extfrag_events", "extfrag_fragmenting",
        "extfrag_change_ownership", "pageblocks_claimed", "pages_stolen", "list_probes",
        "pcp_refills", "pcp_drained_blocks", "watermark_boosts", "highatomic_reserved_blocks",
    }
)  # fmt: skip
"""Counters of memsim that no kernel prints under these names."""


def text(memory: Memory) -> str:
    """Write a line for each name (vmstat_show, mm/vmstat.c, 6.1; spec 11.1 to 11.3)."""
    return "".join(f"{name} {value}\n" for name, value in values(memory).items())


def values(memory: Memory) -> Gauges:
    """Return zone gauges, node gauges, then events, as the kernel orders them."""
    zones = range(len(memory.setup.zones))
    gauges: Counter[str] = Counter()
    for z in zones:
        gauges.update(zone_gauges(memory, z))
    events = {name: n for name, n in memory.vmstat().items() if name not in OWN}
    return {**gauges, **node_gauges(memory, zones), **events}
