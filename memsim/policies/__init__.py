"""WHAT TO PREFER: one file per placement policy.

A policy file defines one class ``Policy``: a frozen pydantic model whose fields are the policy's
options, whose docstring is what ``memsim list policies`` prints, with ``PROFILES`` (the kernels it
makes sense on), ``TYPES`` (what its types are called) and ``tables()``, which returns the small
integer tables that the kernels read:

    class Policy(PolicyModel):
        '''Prefer nothing.'''

        PROFILES: ClassVar[tuple[str, ...]] = ("linux-2.6.14",)
        TYPES: ClassVar[tuple[str, ...]] = ("any",)

        def tables(self, kernel: Kernel) -> PolicyTables:
            return policy_tables(by_use({}))

A policy decides only: the type of a request, where to look next, what to claim, where remainders
go. Mechanism is in ``memsim.kernels``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from memsim.kernels.placement import (
    CLAIM_NEVER,
    NR_FALLBACKS,
    NR_OPTIONS,
    OPT_RESERVE_TYPE,
    REMAINDER_REQUESTER,
    PolicyTables,
)
from memsim.mm import (
    MAX_PAGE_ORDER,
    NR_PLACEMENT_TYPES,
    NR_USES,
    PAGEBLOCK_ORDER,
    Use,
)
from memsim.profiles import Mechanism


class PolicyModel(BaseModel):
    """Base of every policy's options: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    PROFILES: ClassVar[tuple[str, ...]] = ()
    TYPES: ClassVar[tuple[str, ...]] = ()


class Kernel(NamedTuple):
    """What a policy may know of the kernel that it is part of."""

    mechanism: Mechanism
    max_page_order: int
    """Order of the largest block."""
    pageblock_order: int
    """Order of the unit that has a type."""


LINUX_6_1 = Kernel("linux-6.1", MAX_PAGE_ORDER, PAGEBLOCK_ORDER)
LINUX_2_6_14 = Kernel("linux-2.6.14", MAX_PAGE_ORDER, MAX_PAGE_ORDER)
"""On x86."""
KERNELS: Mapping[Mechanism, Kernel] = {k.mechanism: k for k in (LINUX_6_1, LINUX_2_6_14)}


def kernel_with(mechanism: Mechanism, max_page_order: int) -> Kernel:
    """Return the kernel of a machine whose largest block has this order; 6.1 has one size."""
    if mechanism == "linux-6.1":
        return LINUX_6_1
    return Kernel(mechanism, max_page_order, max_page_order)


class PolicyKind(Protocol):
    """What a policy file must define under the name ``Policy``."""

    def tables(self, kernel: Kernel) -> PolicyTables:
        """Return the tables that the kernels read; the same arguments give the same tables."""


def by_gfp(unmovable: int, movable: int, reclaimable: int) -> NDArray[np.int32]:
    """Give each request a type by the mobility in its gfp flags, whatever it is for."""
    return np.array([unmovable, movable, reclaimable] * NR_USES, np.int32)


def by_use(
    types: Mapping[Use, int], *, movable: int = 0, reclaimable: int = 0
) -> NDArray[np.int32]:
    """Give each request a type by what it is for; a use that is not named gets type 0.

    Requests of such a use that ask to be ``movable`` or ``reclaimable`` in their gfp flags (probes,
    replayed traces) get the types given for that.
    """
    rows = [[types[use]] * 3 if use in types else [0, movable, reclaimable] for use in Use]
    return np.array(rows, np.int32).reshape(-1)


def policy_tables(
    types: NDArray[np.int32],
    *,
    fallback: Sequence[Sequence[int]] = (),
    whole_from: Sequence[int] = (0,) * NR_PLACEMENT_TYPES,
    claim: Sequence[int] = (CLAIM_NEVER,) * NR_PLACEMENT_TYPES,
    remainder: Sequence[int] = (REMAINDER_REQUESTER,) * NR_PLACEMENT_TYPES,
    pcp_of: Sequence[int] = (0,) * NR_PLACEMENT_TYPES,
    options: Mapping[int, int] | None = None,
) -> PolicyTables:
    """Put a policy's tables together; rows of types that it does not have may be left out.

    ``types`` is (NR_USES * 3,), from ``by_gfp`` or ``by_use``; ``options`` are placement.OPT_*.
    Raises ValueError for more rows, types or options than there are.
    """
    rows = [*fallback, *[()] * (NR_PLACEMENT_TYPES - len(fallback))]
    unknown = [option for option in options or {} if option not in range(NR_OPTIONS)]
    if len(rows) > NR_PLACEMENT_TYPES or unknown:
        what = f"options {unknown}" if unknown else f"{len(rows)} rows of fallback"
        raise ValueError(f"there are no {what}")
    switches = {OPT_RESERVE_TYPE: -1, **(options or {})}
    return PolicyTables(
        type_of_request=types,
        fallback=np.array([padded(row, NR_FALLBACKS, -1) for row in rows], np.int32).reshape(-1),
        whole_from=np.array(padded(whole_from, NR_PLACEMENT_TYPES), np.int32),
        claim=np.array(padded(claim, NR_PLACEMENT_TYPES), np.int32),
        remainder=np.array(padded(remainder, NR_PLACEMENT_TYPES), np.int32),
        pcp_of=np.array(padded(pcp_of, NR_PLACEMENT_TYPES), np.int32),
        options=np.array([switches.get(i, 0) for i in range(NR_OPTIONS)], np.int32),
    )


def padded(row: Iterable[int], length: int, fill: int = 0) -> list[int]:
    """Fill a row up to its length; raises ValueError if it is longer."""
    values = [int(value) for value in row]
    if len(values) > length:
        raise ValueError(f"expected at most {length} values, found {values}")
    return values + [fill] * (length - len(values))
