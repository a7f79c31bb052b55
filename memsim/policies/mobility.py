"""Grouping pages by mobility, as in today's kernels."""

from __future__ import annotations

from typing import ClassVar

from memsim.kernels.placement import (
    CLAIM_HALF,
    OPT_BOOST,
    OPT_BOOT_TYPE,
    OPT_CMA,
    OPT_GROUPING,
    OPT_HIGHATOMIC,
    OPT_NOFRAGMENT,
    REMAINDER_WHOLE,
    PolicyTables,
)
from memsim.mm import PAGEBLOCK_ORDER, Migratetype, Use
from memsim.policies import Kernel, PolicyModel, by_gfp, policy_tables

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE
HA = Migratetype.HIGHATOMIC


class Policy(PolicyModel):
    """Keep unmovable, movable and reclaimable pages in pageblocks of their own.

    Requests fall back to another type's largest block and claim its pageblock if at least half of
    it is free or alike. ``boost``, ``nofragment``, ``highatomic`` and ``cma`` switch off what Linux
    added around this; 2.6.21-rc6-mm1, where it began, has of these ``highatomic`` alone. Source:
    fallbacks, __rmqueue_fallback, mm/page_alloc.c, 6.1 (spec 3); linux-2.6.14 7.1.
    """

    PROFILES: ClassVar[tuple[str, ...]] = ("linux-6.1", "linux-2.6.21")
    TYPES: ClassVar[tuple[str, ...]] = ("Unmovable", "Movable", "Reclaimable")

    boost: bool = True
    nofragment: bool = True
    highatomic: bool = True
    cma: bool = True

    def tables(self, kernel: Kernel) -> PolicyTables:
        """Return the tables that the kernels read."""
        if kernel.mechanism == "linux-2.6.14":
            return self._tables_2_6_21(kernel)
        return policy_tables(
            by_gfp(U, M, R),
            fallback=((R, M), (R, U), (U, M)),
            whole_from=(0, PAGEBLOCK_ORDER // 2, 0),
            claim=(CLAIM_HALF,) * 3,
            options={
                OPT_NOFRAGMENT: self.nofragment,
                OPT_BOOST: self.boost,
                OPT_HIGHATOMIC: self.highatomic,
                OPT_CMA: self.cma,
                OPT_BOOT_TYPE: M,
            },
        )

    def _tables_2_6_21(self, kernel: Kernel) -> PolicyTables:
        large = (kernel.max_page_order + 1) // 2
        types = by_gfp(U, M, R)
        # Pages of block devices became movable in 2.6.22-rc1-mm1 only (M. Gorman, 17 May 2007).
        types[3 * Use.BUFFERS : 3 * (Use.BUFFERS + 1)] = R
        return policy_tables(
            types,
            fallback=((R, M, HA), (R, U, HA), (U, M, HA), (R, U, M)),
            whole_from=(large, large, 0, large),
            claim=(CLAIM_HALF,) * 4,
            remainder=(REMAINDER_WHOLE,) * 4,
            options={OPT_GROUPING: 1, OPT_HIGHATOMIC: self.highatomic, OPT_BOOT_TYPE: M},
        )
