"""/proc/buddyinfo: free blocks of each zone by order, whatever list they stand on."""

from __future__ import annotations

from memsim.kernels import layout as L
from memsim.memory import Memory


def text(memory: Memory) -> str:
    """Write one line for each zone (frag_show_print, mm/vmstat.c, 6.1; spec 11.4)."""
    orders = range(memory.setup.max_page_order + 1)
    lines = []
    for z, zone in enumerate(memory.setup.zones):
        counts = (memory.zone_field(z, L.Z_NR_FREE + order) for order in orders)
        numbers = "".join(f"{count:6} " for count in counts)
        lines.append(f"Node {zone.node}, zone {zone.name:>8} {numbers}\n")
    return "".join(lines)
