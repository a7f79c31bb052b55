"""Placement without types."""

from __future__ import annotations

from typing import ClassVar

from memsim.kernels.placement import (
    CLAIM_WHOLE,
    OPT_BOOST,
    OPT_BOOT_TYPE,
    OPT_HIGHATOMIC,
    OPT_NOFRAGMENT,
    PolicyTables,
)
from memsim.mm import Migratetype
from memsim.policies import Kernel, PolicyModel, by_gfp, policy_tables
from memsim.profiles import PROFILES

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE


class Policy(PolicyModel):
    """Treat every request alike: all there was in 2005, and 6.1 with grouping by mobility off.

    In 6.1 boot memory stands on movable lists all the same; the first requests convert it,
    pageblock by pageblock. ``boost``, ``nofragment`` and ``highatomic`` concern 6.1 alone. Source:
    page_group_by_mobility_disabled, mm/page_alloc.c, 6.1 (spec 3.8).
    """

    PROFILES: ClassVar[tuple[str, ...]] = tuple(PROFILES)
    TYPES: ClassVar[tuple[str, ...]] = ("any",)

    boost: bool = True
    nofragment: bool = True
    highatomic: bool = True

    def tables(self, kernel: Kernel) -> PolicyTables:
        """Return the tables that the kernels read."""
        if kernel.mechanism == "linux-2.6.14":
            return policy_tables(by_gfp(0, 0, 0))
        return policy_tables(
            by_gfp(U, U, U),
            fallback=((R, M), (R, U), (U, M)),
            claim=(CLAIM_WHOLE,) * 3,
            options={
                OPT_NOFRAGMENT: self.nofragment,
                OPT_BOOST: self.boost,
                OPT_HIGHATOMIC: self.highatomic,
                OPT_BOOT_TYPE: M,
            },
        )
