"""Three types and a reserve, as in the full patches of 2005."""

from __future__ import annotations

from typing import ClassVar

from memsim.kernels.placement import (
    CLAIM_NEVER,
    CLAIM_WHOLE,
    OPT_FLOOR,
    OPT_POOL,
    OPT_RESERVE_SHIFT,
    OPT_RESERVE_TYPE,
    OPT_TYPE_FIRST,
    REMAINDER_LENDER,
    REMAINDER_REQUESTER,
    PolicyTables,
)
from memsim.mm import EASYRCLM_USES, Use
from memsim.policies import Kernel, PolicyModel, by_use, policy_tables

NORCLM, EASY, KERN, FALLBACK = range(4)


class Policy(PolicyModel):
    """Keep easily reclaimed, kernel-reclaimable and other pages apart, with a reserve (2005).

    A type without a block takes a free pageblock of any type; an eighth of the zone becomes a
    reserve first. Then it falls back type by type, to the reserve before others; only requests
    that nothing reclaims keep what they split. Source: V19, 004_fallback (spec history-2005 2.2).
    """

    PROFILES: ClassVar[tuple[str, ...]] = ("linux-2.6.14", "linux-2.6.14-mm", "linux-2.6.15")
    TYPES: ClassVar[tuple[str, ...]] = ("NoRclm", "EasyRclm", "KernRclm", "Fallback")

    def tables(self, kernel: Kernel) -> PolicyTables:
        """Return the tables that the kernels read."""
        uses = dict.fromkeys(EASYRCLM_USES, EASY)
        uses |= dict.fromkeys((Use.INODE, Use.DENTRY), KERN)
        return policy_tables(
            by_use(uses, movable=EASY, reclaimable=KERN),
            fallback=((FALLBACK, KERN, EASY), (FALLBACK, NORCLM, KERN), (FALLBACK, NORCLM, EASY)),
            whole_from=((kernel.max_page_order + 1) // 2,) * 3,
            claim=(CLAIM_WHOLE, CLAIM_NEVER, CLAIM_NEVER),
            remainder=(REMAINDER_REQUESTER, REMAINDER_LENDER, REMAINDER_LENDER),
            pcp_of=(0, 1, 0, 0),
            options={
                OPT_TYPE_FIRST: 1,
                OPT_FLOOR: 1,
                OPT_POOL: 1,
                OPT_RESERVE_TYPE: FALLBACK,
                OPT_RESERVE_SHIFT: 3,
            },
        )
