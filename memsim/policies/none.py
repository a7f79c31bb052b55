"""Placement without types: grouping by mobility switched off."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memsim.kernels.layout import PolicyTables
from memsim.mm import Migratetype
from memsim.policies import PolicyModel

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE


class Policy(PolicyModel):
    """Treat every request alike, as Linux 6.1 does when grouping by mobility is off.

    Boot memory stands on movable lists all the same; the first requests convert it, pageblock by
    pageblock. Source: page_group_by_mobility_disabled, mm/page_alloc.c, 6.1 (spec 3.8).
    """

    PROFILES: ClassVar[tuple[str, ...]] = ("linux-6.1",)

    boost: bool = True
    nofragment: bool = True
    highatomic: bool = True

    def tables(self) -> PolicyTables:
        """Return the tables that the kernels read."""
        return PolicyTables(
            type_of_request=np.array([U, U, U], np.int32),
            fallback=np.array([[R, M], [R, U], [U, M]], np.int32).reshape(-1),
            whole_from=np.zeros(3, np.int32),
            claim_always=np.ones(3, np.int32),
            options=np.array([self.nofragment, self.boost, self.highatomic, False], np.int32),
        )
