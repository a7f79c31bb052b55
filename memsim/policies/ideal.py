"""The bound: grouping that compaction without cost never lets down."""

from __future__ import annotations

from typing import ClassVar

from memsim.kernels.placement import CLAIM_WHOLE, OPT_BOOT_TYPE, OPT_CMA, OPT_IDEAL, PolicyTables
from memsim.mm import EASYRCLM_USES, Migratetype
from memsim.policies import Kernel, PolicyModel, by_gfp, by_use, policy_tables
from memsim.profiles import PROFILES

FIXED, MOVABLE = Migratetype.UNMOVABLE, Migratetype.MOVABLE


class Policy(PolicyModel):
    """The bound that no kernel reaches: all that is movable gives way, at once and at no cost.

    What cannot be moved shares pageblocks of its own and gets another one only when these are full;
    movable pages leave for it, and for every block that is asked for. Watermarks hold as ever. It
    says what placement and compaction could do at best; how far a policy is from it is its regret
    (``memsim compare``).
    """

    PROFILES: ClassVar[tuple[str, ...]] = tuple(PROFILES)
    TYPES: ClassVar[tuple[str, ...]] = ("Fixed", "Movable")

    def tables(self, kernel: Kernel) -> PolicyTables:
        """Return the tables that the kernels read."""
        if kernel.mechanism == "linux-6.1":
            return policy_tables(
                by_gfp(FIXED, MOVABLE, FIXED),
                fallback=((MOVABLE,), (FIXED,)),
                whole_from=(0, kernel.max_page_order + 1),
                options={OPT_CMA: 1, OPT_BOOT_TYPE: MOVABLE, OPT_IDEAL: 1},
            )
        uses = dict.fromkeys(EASYRCLM_USES, int(MOVABLE))
        return policy_tables(
            by_use(uses, movable=MOVABLE, reclaimable=FIXED),
            fallback=((MOVABLE,), (FIXED,)),
            whole_from=(kernel.max_page_order,) * 2,
            claim=(CLAIM_WHOLE,) * 2,
            pcp_of=(0, 1),
            options={OPT_BOOT_TYPE: MOVABLE, OPT_IDEAL: 1},
        )
