"""Grouping pages by mobility, as in today's kernels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memsim.kernels.layout import PolicyTables
from memsim.mm import PAGEBLOCK_ORDER, Migratetype
from memsim.policies import PolicyModel

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE


class Policy(PolicyModel):
    """Keep unmovable, movable and reclaimable pages in pageblocks of their own.

    Requests fall back to another type's largest block and claim its pageblock if at least half of
    it is free or alike. ``boost``, ``nofragment``, ``highatomic`` and ``cma`` switch off what Linux
    added around this. Source: fallbacks, __rmqueue_fallback, mm/page_alloc.c, 6.1 (spec 3).
    """

    PROFILES: ClassVar[tuple[str, ...]] = ("linux-6.1",)

    boost: bool = True
    nofragment: bool = True
    highatomic: bool = True
    cma: bool = True

    def tables(self) -> PolicyTables:
        """Return the tables that the kernels read."""
        return PolicyTables(
            type_of_request=np.array([U, M, R], np.int32),
            fallback=np.array([[R, M], [R, U], [U, M]], np.int32).reshape(-1),
            whole_from=np.array([0, PAGEBLOCK_ORDER // 2, 0], np.int32),
            claim_always=np.zeros(3, np.int32),
            options=np.array([self.nofragment, self.boost, self.highatomic, self.cma], np.int32),
        )
