"""Memory: a machine's physical memory, page by page.

The deep module: it owns every array of ``kernels/layout.py`` and has one method per kind of event.
Workloads know handles; only Memory knows pages.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import batch as batch_kernels
from memsim.kernels import boot as boot_kernels
from memsim.kernels import census as census_kernels
from memsim.kernels import kcompactd, trace_log, vmstat
from memsim.kernels import layout as L
from memsim.kernels.events import Batch, no_events
from memsim.kernels.linux_2_6_14 import batch as batch_2_6_14
from memsim.kernels.linux_2_6_14 import boot as boot_2_6_14
from memsim.kernels.placement import OPT_BOOT_TYPE, PolicyTables
from memsim.kernels.system import S_NOW, S_OOM
from memsim.memory.arrays import copy_pages, handle_columns, new_pages, no_handles
from memsim.memory.counting import NUMA_NAMES, count_events, hotpluggable, take_census
from memsim.memory.holding import hold_blocks
from memsim.memory.invariants import Accounts, violations
from memsim.memory.pressure import pressure_arrays
from memsim.memory.requests import request_row
from memsim.memory.setup import (
    PCP_SLACK,
    MachineSetup,
    pcp_order,
    pcp_rows,
    zone_of_pages,
    zone_rows,
    zonelist_rows,
)
from memsim.mm import (
    MAX_NR_ZONES,
    MAX_ORDER_NR_PAGES,
    MIGRATE_PCPTYPES,
    NR_LOWORDER_PCP_LISTS,
    SECTION_ORDER,
    ZONE_NAMES,
    ZONE_NAMES_2005,
    Migratetype,
)
from memsim.schema import Census, HeldBlocks, Outcome, Request, ZoneInfo


class Memory:
    """All pages of a machine under one placement policy.

    A new Memory holds no free page: give it some with ``free_boot_range`` or ``place_free``.
    """

    def __init__(self, setup: MachineSetup, tables: PolicyTables) -> None:
        top = max(z.end_pfn for z in setup.zones)
        self.setup = setup
        self.tables = tables
        largest = 1 << setup.max_page_order
        self.nr_pages = -(-top // largest) * largest
        self._requests: tuple[Request, ...] = ()
        self.request_rows = np.zeros(0, np.int64)
        self._accounts: Accounts | None = None
        self.mem = self._new_mem(np.zeros(0, np.int32), np.zeros(trace_log.LOG_ONLY + 1, np.int64))

    def _new_mem(self, log: NDArray[np.int32], cursor: NDArray[np.int64]) -> L.Mem:
        zones = self.setup.zones
        n = self.nr_pages
        cpus, nodes = len(self.setup.cpu_node), len(self.setup.zonelists)
        most_zones = max(len(zones), nodes * MAX_NR_ZONES)
        pcps, ring_size = pcp_rows(zones, cpus, self.setup.mechanism)
        return L.Mem(
            **new_pages(n, most_zones, len(zones) if self._old else nodes),
            pageblocks=np.full(
                n >> self.setup.pageblock_order, self.tables.options[OPT_BOOT_TYPE], np.uint8
            ),
            zone_of=zone_of_pages(zones, n),
            zones=zone_rows(zones),
            pcps=pcps,
            rings=np.zeros(ring_size, np.int32),
            zonelists=zonelist_rows(self.setup),
            cpu_node=np.array(self.setup.cpu_node, np.int32),
            lru_batches=np.zeros(cpus * L.LRU_FIELDS, np.int32),
            events=np.zeros(len(vmstat.SYSTEM_EVENTS), np.int64),
            log=log,
            log_cursor=cursor,
            **no_handles(),
            **pressure_arrays(self.setup, n),
            nr_pages=n,
            nr_cpus=cpus,
            nr_zones=len(zones),
            max_page_order=self.setup.max_page_order,
            pageblock_order=self.setup.pageblock_order,
            nr_nodes=nodes,
            lru_per_zone=int(self._old),
        )

    @property
    def page_table(self) -> NDArray[np.int32]:
        """What each handle holds, see layout.Mem.page_table."""
        return self.mem.page_table[:-1]

    # --- setting up ---------------------------------------------------------------------

    def reserve(self, start: int, end: int) -> None:
        """Keep the pages [start, end) from ever being free; whole 4 MiB cost one mark."""
        first = -(-start // MAX_ORDER_NR_PAGES)
        last = max(first, end // MAX_ORDER_NR_PAGES)
        self.mem.state[self.nr_pages + first : self.nr_pages + last] = L.PAGE_RESERVED
        self.mem.state[start : min(end, first * MAX_ORDER_NR_PAGES)] = L.PAGE_RESERVED
        self.mem.state[max(start, last * MAX_ORDER_NR_PAGES) : end] = L.PAGE_RESERVED

    def free_boot_range(self, zone: int, start: int, end: int, word: int = 0) -> None:
        """Free [start, end) as boot does (spec 2.5; linux-2.6.14 3.2).

        2.6.14 frees aligned words of ``word`` pages at once and all others singly, by way of CPU
        0's lists.
        """
        if self._old:
            boot_2_6_14.free_boot_pages(self.mem, self.tables, zone, start, end, word)
        else:
            boot_kernels.free_boot_blocks(self.mem, zone, start, end)

    def place_free(self, zone: int, order: int, migratetype: int, pfns: NDArray[np.int32]) -> None:
        """Put blocks at the tail of a free list in this order, as they stood in a snapshot."""
        boot_kernels.place_free_blocks(self.mem, zone, order, migratetype, pfns)
        if migratetype != Migratetype.ISOLATE:
            self.add_zone_field(zone, L.Z_NR_FREE_PAGES, len(pfns) << order)
        if migratetype == Migratetype.CMA and not self._old:
            self.add_zone_field(zone, L.Z_NR_FREE_CMA, len(pfns) << order)

    def hold_back(self, zone: int, pages: int) -> None:
        """Let the zone's free count lag by ``pages``, each CPU holding back what it may."""
        threshold = self.setup.zones[zone].stat_threshold
        for cpu in range(len(self.setup.cpu_node)):
            part = max(-threshold, min(pages, threshold))
            self.mem.pcps[self._pcp_row(zone, cpu) + L.P_STAT_DIFF] += part
            self.add_zone_field(zone, L.Z_NR_FREE_PAGES, -part)
            pages -= part

    def place_pcp(self, zone: int, cpu: int, pindex: int, pfns: NDArray[np.int32]) -> None:
        """Put blocks on an empty per-CPU list, head first, as they stood in a snapshot."""
        order = pcp_order(self.setup.mechanism, pindex)
        row = self._pcp_row(zone, cpu)
        at = row + L.P_LISTS + 4 * pindex
        self.mem.pcps[at], self.mem.pcps[at + 1] = 0, len(pfns)
        offset = int(self.mem.pcps[at + 2])
        self.mem.rings[offset : offset + len(pfns)] = pfns
        self.mem.pcps[row + L.P_COUNT] += len(pfns) << order
        kinds = self.mem.pageblocks[pfns >> self.setup.pageblock_order].astype(np.int32)
        if pindex < NR_LOWORDER_PCP_LISTS:
            listed = pindex % MIGRATE_PCPTYPES
            remembers = (listed == Migratetype.MOVABLE) & (kinds >= MIGRATE_PCPTYPES)
            kinds = np.where(remembers, kinds, listed)
        self.mem.state[pfns] = kinds << L.TYPE_SHIFT | L.PAGE_PCP | order << L.ORDER_SHIFT

    def set_pcp(self, zone: int, cpu: int, high: int, batch: int, free_factor: int = 0) -> None:
        """Set the sizes of a CPU's lists of a zone; ``high`` at most what the zone began with."""
        row = self._pcp_row(zone, cpu)
        self.mem.pcps[row + L.P_HIGH] = high
        self.mem.pcps[row + L.P_BATCH] = batch
        self.mem.pcps[row + L.P_FREE_FACTOR] = free_factor

    def keep_log(self, rows: int) -> None:
        """Log the trace events of every batch from now on; ``rows`` are kept at a time."""
        high = max((z.pcp_high for z in self.setup.zones), default=0)
        headroom = high + 2 * PCP_SLACK
        cursor = np.array([0, rows + headroom, headroom, 0, 0], np.int64)
        log = np.zeros((rows + headroom) * trace_log.LOG_FIELDS, np.int32)
        self.mem = self.mem._replace(log=log, log_cursor=cursor)

    def take_log(self) -> NDArray[np.int32]:
        """Return the log so far, (n, LOG_FIELDS), and start it anew."""
        used = int(self.mem.log_cursor[trace_log.LOG_USED])
        self.mem.log_cursor[trace_log.LOG_USED] = 0
        return self.mem.log[: used * trace_log.LOG_FIELDS].reshape(-1, trace_log.LOG_FIELDS).copy()

    def add_requests(self, requests: Sequence[Request]) -> int:
        """Make request classes known; return the number of the first."""
        first = len(self._requests)
        self._requests += tuple(requests)
        self.request_rows = np.concatenate([self.request_rows, self._request_rows(requests)])
        return first

    def set_policy(self, tables: PolicyTables) -> None:
        """Go on under another policy; what has been allocated stays where it is.

        Free blocks stay on their lists: those of types that the policy has no use for are lost.
        """
        self.tables = tables
        self.request_rows = self._request_rows(self._requests)

    def _request_rows(self, requests: Sequence[Request]) -> NDArray[np.int64]:
        rows = [request_row(request, self.tables, self.setup.mechanism) for request in requests]
        return np.array(rows, np.int64).reshape(-1)

    def add_handles(self, count: int) -> int:
        """Make room for handles; return the first."""
        first = len(self.page_table)
        self.mem = self.mem._replace(**handle_columns(self.mem, count))
        return first

    def hold(self, handle: int, blocks: HeldBlocks) -> int:
        """Let handles from ``handle`` on hold blocks allocated before the start; count those held.

        A block that is not allocated page by page, or that lies in a larger one, is left out, as
        is a pfn of -1.
        """
        return hold_blocks(self, handle, blocks)

    def copy(self) -> Memory:
        """Return an independent copy of everything."""
        twin = copy.copy(self)
        pages = copy_pages(self.mem)
        others = {k: v for k, v in self.mem._asdict().items() if k not in pages}
        twin.mem = L.Mem(**copy.deepcopy(others), **pages)
        return twin

    # --- events ---------------------------------------------------------------------------

    def run(
        self,
        op: NDArray[np.uint8],
        request: NDArray[np.uint16],
        cpu: NDArray[np.uint16],
        handle: NDArray[np.int32],
        time: NDArray[np.int64] | None = None,
    ) -> Outcome:
        """Carry out allocations, accesses and frees in order (arrays of length n, see AllocBatch).

        Without times all happen at once. Stops short where the log is full, or where a request
        needs an OOM kill (``needs_oom_kill``): the outcome is then shorter than n, and the caller
        takes the log or kills and goes on from there.
        """
        n = len(op)
        if time is None:
            time = np.full(n, self.now, np.int64)
        pfn = np.empty(n, np.int32)
        status = np.zeros(n, np.uint8)
        why = np.zeros(n, np.uint8)
        extfrag = np.zeros(n, np.int16)
        batch = Batch(op, request, cpu, handle, time, pfn, status, why, extfrag)
        done = self._run_batch(batch, n) if n else 0
        return Outcome(pfn[:done], status[:done], why[:done], extfrag[:done])

    def _run_batch(self, batch: Batch, n: int) -> int:
        kernels = batch_2_6_14 if self._old else batch_kernels
        return int(kernels.run_batch(self.mem, self.tables, self.request_rows, batch, 0, n))

    def advance(self, now: int) -> None:
        """Let time come to ``now`` (ns): daemons do what is due until then."""
        self._run_batch(no_events(max(now, self.now)), 0)

    @property
    def now(self) -> int:
        """The instant that the simulation has come to, in nanoseconds."""
        return int(self.mem.system[S_NOW])

    @property
    def needs_oom_kill(self) -> bool:
        """The last batch stopped because a request needs an OOM kill."""
        return bool(self.mem.system[S_OOM])

    def drain_all(self, cpu: int = 0) -> None:
        """Return the pages of all per-CPU lists to the buddy lists; ``cpu`` does the work."""
        if self._old:
            batch_2_6_14.drain_all_pages(self.mem, self.tables)
        else:
            batch_kernels.drain_all_pages(self.mem, cpu)

    def compact_memory(self) -> None:
        """Compact every zone of every node, as writing to /proc/sys/vm/compact_memory does."""
        kcompactd.compact_nodes(self.mem, self.tables)

    def compact_proactively(self) -> None:
        """Let proactive compaction begin now; it takes its steps as time passes."""
        kcompactd.compact_nodes_proactively(self.mem, self.tables)

    # --- looking ----------------------------------------------------------------------------

    def add_zone_field(self, zone: int, field: int, value: int) -> None:
        """Add to a field of a zone (layout.Z_*)."""
        self.mem.zones[zone * L.ZONE_FIELDS + field] += value

    def zone_field(self, zone: int, field: int) -> int:
        """Read a field of a zone (layout.Z_*)."""
        return int(self.mem.zones[zone * L.ZONE_FIELDS + field])

    def free_list(self, zone: int, order: int, migratetype: int) -> NDArray[np.int32]:
        """Return the pfns of a free list, head first."""
        out = np.zeros(self.zone_field(zone, L.Z_NR_FREE + order), np.int32)
        n = census_kernels.walk_free_list(self.mem, zone, order, migratetype, out)
        return out[:n]

    def lru_list(self, owner: int, kind: int) -> NDArray[np.int32]:
        """Return the heads of the blocks on an LRU list (layout.LRU_*), youngest first.

        Its ``owner`` is a node in 6.1, a zone in 2.6.14.
        """
        out = np.zeros(self.nr_pages, np.int32)
        head = self.mem.lru_lists + L.NR_LRU_LISTS * owner + kind
        return out[: census_kernels.walk_lru_list(self.mem, head, out)]

    def pcp_list(self, zone: int, cpu: int, pindex: int) -> NDArray[np.int32]:
        """Return the pfns of a per-CPU list, head first."""
        at = self._pcp_row(zone, cpu) + L.P_LISTS + 4 * pindex
        head, length, offset, mask = (int(x) for x in self.mem.pcps[at : at + 4])
        pfns: NDArray[np.int32] = self.mem.rings[offset + ((head + np.arange(length)) & mask)]
        return pfns

    def pcp_field(self, zone: int, cpu: int, field: int) -> int:
        """Read a field of a zone's per-CPU lists (layout.P_*)."""
        return int(self.mem.pcps[self._pcp_row(zone, cpu) + field])

    def _pcp_row(self, zone: int, cpu: int) -> int:
        return (zone * len(self.setup.cpu_node) + cpu) * L.PCP_FIELDS

    def nr_free_pages(self, zone: int) -> int:
        """Count the free pages of a zone exactly, whatever its CPUs have not folded in."""
        return self._exact(zone, L.Z_NR_FREE_PAGES, L.P_STAT_DIFF)

    def nr_free_cma(self, zone: int) -> int:
        """Count the free CMA pages of a zone exactly."""
        return self._exact(zone, L.Z_NR_FREE_CMA, L.P_CMA_DIFF)

    def _exact(self, zone: int, counter: int, diff: int) -> int:
        cpus = range(len(self.setup.cpu_node))
        return self.zone_field(zone, counter) + sum(self.pcp_field(zone, c, diff) for c in cpus)

    def fragmentation_score(self, node: int) -> int:
        """Return a node's score for proactive compaction: 0 best, 100 worst (spec 6.10)."""
        return int(kcompactd.node_score(self.mem, node))

    def vmstat(self) -> dict[str, int]:
        """Return the system-wide counters by name."""
        free = sum(map(self.nr_free_pages, range(len(self.setup.zones))))
        return {**count_events(self.mem, self._zone_names), "nr_free_pages": free}

    @property
    def _old(self) -> bool:
        return self.setup.mechanism == "linux-2.6.14"

    @property
    def _zone_names(self) -> tuple[str, ...]:
        return ZONE_NAMES_2005 if self._old else ZONE_NAMES

    def zone_vmstat(self) -> tuple[Mapping[str, int], ...]:
        """Return the NUMA counters of each zone by name."""
        return tuple(
            {name: self.zone_field(z, L.Z_NUMA + i) for i, name in enumerate(NUMA_NAMES)}
            for z in range(len(self.setup.zones))
        )

    def zone_infos(self) -> tuple[ZoneInfo, ...]:
        """Describe the zones for the tables."""
        return tuple(
            ZoneInfo(
                node=z.node,
                name=z.name,
                start_pfn=z.start_pfn,
                spanned=z.end_pfn - z.start_pfn,
                present=z.present,
                managed=z.managed,
                hotpluggable_pages=sum(e - s for s, e in hotpluggable(self.setup, z)),
            )
            for z in self.setup.zones
        )

    def census(self, memory_block_order: int = SECTION_ORDER) -> Census:
        """Count everything as it is now; memory hot-remove takes blocks of that order away."""
        return take_census(self.mem, self.setup, memory_block_order)

    def check(self) -> None:
        """Raise AssertionError with all that does not hold of the state (spec 11.9).

        Pages are conserved from one check to the next.
        """
        found, accounts = violations(self)
        if self._accounts is not None and sum(accounts) != sum(self._accounts):
            found.append(f"pages were lost or made: {self._accounts} became {accounts}")
        self._accounts = accounts
        if found:
            raise AssertionError("; ".join(found))
