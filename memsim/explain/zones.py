"""The zones that a request may use, as it finds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.requests import request_row
from memsim.metrics.fragmentation import fragmentation_index
from memsim.mm import NR_ORDERS, NR_WMARK
from memsim.schema import Request


@dataclass(frozen=True)
class ZoneView:
    """A zone as a request finds it; sizes in pages."""

    zone: int
    name: str
    """``node0 Normal``."""
    free: int
    pcp: int
    """On the per-CPU lists: free, but not to be merged."""
    watermark: tuple[int, ...]
    """min, low, high, with the boost."""
    reserve: int
    """Kept from this request by lowmem_reserve_ratio."""
    free_blocks: tuple[int, ...]
    """By order."""
    fragmentation_index: int
    """In thousandths: -1000 if a block is large enough, towards 0 lack of memory, towards 1000
    fragmentation."""
    deferred: int
    """Compaction is put off for so many more attempts at most."""

    @property
    def short_of(self) -> int:
        """Free pages that lack for the min mark, order and reserve left aside."""
        return max(self.watermark[0] + self.reserve + 1 - self.free, 0)


def zone_views(memory: Memory, request: Request, order: int, cpu: int) -> tuple[ZoneView, ...]:
    """Return the zones that a request from a CPU may use, in the order in which it tries them."""
    row = request_row(request, memory.tables, memory.setup.mechanism)
    node = memory.setup.cpu_node[cpu] if row[L.R_NODE] < 0 else row[L.R_NODE]
    only = 1 if row[L.R_FLAGS] & L.REQ_THISNODE else 0
    usable = [
        z
        for z in memory.setup.zonelists[node][only]
        if row[L.R_NODEMASK] >> memory.setup.zones[z].node & 1
        and memory.setup.zones[z].zone_type <= row[L.R_HIGHEST_ZONE]
    ]
    first = memory.setup.zones[usable[0]].zone_type if usable else 0
    old = memory.setup.mechanism == "linux-2.6.14"
    return tuple(_view(memory, z, order, first if old else row[L.R_HIGHEST_ZONE]) for z in usable)


def _view(memory: Memory, z: int, order: int, highest: int) -> ZoneView:
    zone = memory.setup.zones[z]
    blocks = [memory.zone_field(z, L.Z_NR_FREE + k) for k in range(NR_ORDERS)]
    boost = memory.zone_field(z, L.Z_BOOST)
    marks = tuple(memory.zone_field(z, L.Z_WMARK + k) + boost for k in range(NR_WMARK - 1))
    cpus = range(len(memory.setup.cpu_node))
    return ZoneView(
        zone=z,
        name=f"node{zone.node} {zone.name}",
        free=memory.nr_free_pages(z),
        pcp=sum(memory.pcp_field(z, cpu, L.P_COUNT) for cpu in cpus),
        watermark=marks,
        reserve=memory.zone_field(z, L.Z_LOWMEM_RESERVE + highest),
        free_blocks=tuple(blocks[: memory.setup.max_page_order + 1]),
        fragmentation_index=fragmentation_index(np.array(blocks, np.int64), order),
        deferred=_deferred(memory, z, order),
    )


def _deferred(memory: Memory, z: int, order: int) -> int:
    shift, considered, failed = (
        memory.zone_field(z, L.Z_COMPACT + field)
        for field in (L.COMPACT_DEFER_SHIFT, L.COMPACT_CONSIDERED, L.COMPACT_ORDER_FAILED)
    )
    return max((1 << shift) - considered - 1, 0) if shift and order >= failed else 0
