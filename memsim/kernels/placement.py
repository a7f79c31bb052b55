"""What a placement policy says to the kernels: small integer tables, declared once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import NR_PLACEMENT_TYPES

NR_FALLBACKS = NR_PLACEMENT_TYPES - 1
"""Types that a row of the fallback table has room for: all others."""


class PolicyTables(NamedTuple):
    """What a placement policy decides, as the kernels read it (T = 4 types)."""

    type_of_request: NDArray[np.int32]
    """(NR_USES * 3,) type of a request by its use, and by the mobility in its gfp flags."""
    fallback: NDArray[np.int32]
    """(T * NR_FALLBACKS,) types to look at next, in order; -1 ends the row."""
    whole_from: NDArray[np.int32]
    """(T,) smallest order of a foreign block whose pageblock may be taken whole."""
    claim: NDArray[np.int32]
    """(T,) CLAIM_*: when a fallback changes the pageblock's type."""
    remainder: NDArray[np.int32]
    """(T,) REMAINDER_*: whose lists get what is split off a foreign block (2.6.14)."""
    pcp_of: NDArray[np.int32]
    """(T,) which of the two per-CPU lists of its kind (hot, cold) a type uses (2.6.14)."""
    options: NDArray[np.int32]
    """OPT_*: which of the optional mechanisms are on, and their sizes."""


CLAIM_NEVER, CLAIM_WHOLE, CLAIM_HALF, CLAIM_FLIP = range(4)
"""Never; for a block of order ``whole_from`` or more; if besides half of the pageblock is free or
alike (6.1); for such a block too, but then a pageblock of the requester's own type goes to the
lender (2.6.14)."""
REMAINDER_LENDER, REMAINDER_REQUESTER, REMAINDER_WHOLE = range(3)
"""The lender's lists; the requester's; the requester's for a block of order ``whole_from`` or
more."""
(
    OPT_NOFRAGMENT,
    OPT_BOOST,
    OPT_HIGHATOMIC,
    OPT_CMA,
    OPT_TYPE_FIRST,
    OPT_FLOOR,
    OPT_POOL,
    OPT_RESERVE_TYPE,
    OPT_RESERVE_SHIFT,
    OPT_PAGE_FLAG,
    OPT_BOOT_TYPE,
    OPT_PCP_HIGH_SHIFT,
    OPT_IDEAL,
    OPT_GROUPING,
    OPT_DRAIN,
) = range(15)
"""The first four are mechanisms of 6.1, the others but BOOT_TYPE and IDEAL known to 2.6.14 alone.
TYPE_FIRST: the fallback table decides before the size of the block. FLOOR 1: a foreign block of the
very order asked for is not taken. POOL: before any fallback take a free pageblock of any type.
RESERVE_TYPE (-1: none) and RESERVE_SHIFT: pageblocks that change hands become RESERVE_TYPE while it
owns less than zone >> shift. PAGE_FLAG: freed pages return to the type they were allocated as, not
to their pageblock's. BOOT_TYPE: type of all pageblocks at boot. PCP_HIGH_SHIFT: per-CPU lists hold
high >> shift. IDEAL: movable pages give way at no cost, and only they stand in pageblocks of
BOOT_TYPE. GROUPING: grouping by mobility as 2.6.21 had it: pageblocks bring their free blocks
along, types HighAtomic and Reserve, per-CPU lists that are searched for a type. DRAIN: per-CPU
lists are drained where reclaim has not sufficed for a large block."""
NR_OPTIONS = 15
