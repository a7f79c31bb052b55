"""Two types, as in the light patches of 2005."""

from __future__ import annotations

from typing import ClassVar, Literal

from memsim.kernels.placement import (
    CLAIM_FLIP,
    CLAIM_NEVER,
    OPT_DRAIN,
    OPT_PAGE_FLAG,
    OPT_PCP_HIGH_SHIFT,
    REMAINDER_WHOLE,
    PolicyTables,
)
from memsim.mm import EASYRCLM_USES
from memsim.policies import Kernel, PolicyModel, by_gfp, by_use, policy_tables

NORCLM, EASY = range(2)


class Policy(PolicyModel):
    """Keep user pages and buffers, which are easily reclaimed, apart from all others (2005).

    A type without a block takes the other's largest one, and with a large block the whole
    pageblock. ``variant`` says where a freed page's type is kept: in a map of pageblocks
    (``usemap``, V20) or in the page (``page_flag``, V21, which also drains per-CPU lists for large
    blocks; ``v22`` places alike, on a later kernel).
    Source: __rmqueue_fallback of the patches (spec history-2005 2.1).
    """

    PROFILES: ClassVar[tuple[str, ...]] = ("linux-2.6.14", "linux-2.6.14-mm", "linux-2.6.15")
    TYPES: ClassVar[tuple[str, ...]] = ("NoRclm", "EasyRclm")

    variant: Literal["usemap", "page_flag", "v22"] = "usemap"
    enabled: bool = True

    def tables(self, kernel: Kernel) -> PolicyTables:
        """Return the tables that the kernels read."""
        if not self.enabled:
            return policy_tables(by_gfp(NORCLM, NORCLM, NORCLM))
        # Unlike Linux: two details of V20 are left out. It starts the upper half of each zone's map
        # as EasyRclm (without SPARSEMEM), and begins the test of a watermark anew for each type.
        uses = dict.fromkeys(EASYRCLM_USES, EASY)
        usemap = self.variant == "usemap"
        return policy_tables(
            by_use(uses, movable=EASY, reclaimable=NORCLM),
            fallback=((EASY,), (NORCLM,)),
            whole_from=((kernel.max_page_order + 1) // 2,) * 2,
            claim=(CLAIM_FLIP if usemap else CLAIM_NEVER,) * 2,
            remainder=(REMAINDER_WHOLE,) * 2,
            pcp_of=(0, 1),
            options={
                OPT_PAGE_FLAG: not usemap,
                OPT_PCP_HIGH_SHIFT: usemap,
                OPT_DRAIN: self.variant == "page_flag",
            },
        )
