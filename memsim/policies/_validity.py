"""Hold what a policy says against what the kernels can carry out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from memsim import plugins
from memsim.kernels import placement
from memsim.kernels.placement import NR_OPTIONS, PolicyTables
from memsim.mm import MIGRATE_PCPTYPES, NR_PLACEMENT_TYPES, NR_USES, Use
from memsim.policies import Kernel

_T = NR_PLACEMENT_TYPES
SHAPES = dict(
    zip(
        PolicyTables._fields,
        (NR_USES * 3, _T * placement.NR_FALLBACKS, _T, _T, _T, _T, NR_OPTIONS),
        strict=True,
    )
)
CLAIMS = {
    "linux-6.1": (placement.CLAIM_NEVER, placement.CLAIM_WHOLE, placement.CLAIM_HALF),
    "linux-2.6.14": (placement.CLAIM_NEVER, placement.CLAIM_WHOLE, placement.CLAIM_FLIP),
}
"""What each mechanism knows."""
OPTION_NAMES = {value: name for name, value in vars(placement).items() if name.startswith("OPT_")}
OF_6_1 = (
    placement.OPT_NOFRAGMENT,
    placement.OPT_BOOST,
    placement.OPT_HIGHATOMIC,
    placement.OPT_CMA,
)
MAX_SHIFT = 31


def tables_of(name: str, policy: Any, kernel: Kernel) -> PolicyTables:
    """Return the tables of a policy, the plug-in ``name``, once they are found to be sound.

    Raises plugins.PluginFault for tables that the kernels could not carry out, or that differ when
    asked for again.
    """
    with plugins.watch("policies", name, "Policy.tables"):
        tables, again = (_copied(policy.tables(kernel)) for _ in range(2))
    fault = table_fault(tables, kernel, policy.TYPES)
    if not fault and not _same(tables, again):
        fault = "differ when they are asked for again"
    if fault:
        raise plugins.fault("policies", name, "Policy.tables", f"tables(): {fault}")
    return PolicyTables._make(tables)


def _copied(tables: Any) -> Any:
    """Take copies: kernels get plain arrays of one layout, which nobody else can change."""
    if type(tables) is not PolicyTables:
        return tables
    arrays = (np.array(a) if isinstance(a, np.ndarray) else a for a in tables)
    return PolicyTables._make(arrays)


def _same(tables: PolicyTables, again: Any) -> bool:
    return type(again) is PolicyTables and all(map(np.array_equal, tables, again))


def table_fault(tables: Any, kernel: Kernel, types: Sequence[str]) -> str:
    """Say what is wrong with a policy's tables, empty if nothing is."""
    if type(tables) is not PolicyTables:
        return f"expected PolicyTables, found {type(tables).__name__}"
    faults = _shape_faults(tables)
    fault = next(faults, "") or next(_value_faults(tables, kernel, types), "")
    return fault


def _shape_faults(tables: PolicyTables) -> Iterator[str]:
    for (field, length), array in zip(SHAPES.items(), tables, strict=True):
        if not isinstance(array, np.ndarray):
            yield f"{field} is no array but {type(array).__name__}"
        elif array.dtype != np.int32:
            yield f"{field} has dtype {array.dtype}, expected int32"
        elif array.shape != (length,):
            yield f"{field} has shape {array.shape}, expected ({length},)"


def _value_faults(tables: PolicyTables, kernel: Kernel, types: Sequence[str]) -> Iterator[str]:
    limit = NR_PLACEMENT_TYPES if kernel.mechanism == "linux-2.6.14" else MIGRATE_PCPTYPES
    if len(types) > limit:
        yield f"TYPES names {len(types)} types, {kernel.mechanism} has {limit}"
    for i, kind in enumerate(tables.type_of_request.tolist()):
        if not 0 <= kind < len(types):
            wanted = f"0 to {len(types) - 1} (TYPES)"
            yield f"type_of_request of {Use(i // 3).name} is {kind}, expected {wanted}"
    yield from _fallback_faults(tables, limit)
    rows = {
        "whole_from": kernel.max_page_order + 1,
        "remainder": placement.REMAINDER_WHOLE,
        "pcp_of": 1,
    }
    for field, most in rows.items():
        for kind, value in enumerate(getattr(tables, field).tolist()):
            if not 0 <= value <= most:
                yield f"{field} of type {kind} is {value}, expected 0 to {most}"
    claims: tuple[int, ...] = CLAIMS[kernel.mechanism]
    if tables.options[placement.OPT_GROUPING] and placement.CLAIM_HALF not in claims:
        claims = (placement.CLAIM_HALF,)
    for kind, claim in enumerate(tables.claim.tolist()):
        if claim not in claims:
            yield f"claim of type {kind} is {claim}, expected {' or '.join(map(str, claims))}"
    yield from _option_faults(tables, kernel, limit)


def _fallback_faults(tables: PolicyTables, limit: int) -> Iterator[str]:
    for kind, row in enumerate(tables.fallback.reshape(NR_PLACEMENT_TYPES, -1).tolist()):
        ended = False
        for place, other in enumerate(row):
            name = f"fallback of type {kind}"
            if other != -1 and not 0 <= other < limit:
                yield f"{name} names type {other}, expected 0 to {limit - 1}, or -1 at the end"
            elif other != -1 and ended:
                yield f"{name} goes on after -1"
            elif other == kind:
                yield f"{name} names its own type"
            elif other != -1 and other in row[:place]:
                yield f"{name} names type {other} twice"
            ended = other == -1


def _option_faults(tables: PolicyTables, kernel: Kernel, limit: int) -> Iterator[str]:
    reserve, boot = placement.OPT_RESERVE_TYPE, placement.OPT_BOOT_TYPE
    bounds = dict.fromkeys(range(NR_OPTIONS), (0, 1))
    bounds[reserve] = (-1, limit - 1)
    bounds[boot] = (0, limit - 1)
    bounds[placement.OPT_RESERVE_SHIFT] = bounds[placement.OPT_PCP_HIGH_SHIFT] = (0, MAX_SHIFT)
    for option, value in enumerate(tables.options.tolist()):
        name = OPTION_NAMES[option]
        least, most = bounds[option]
        if not least <= value <= most:
            yield f"{name} is {value}, expected {least} to {most}"
        elif (
            option not in (boot, placement.OPT_IDEAL)
            and value != (-1 if option == reserve else 0)
            and (option in OF_6_1) != (kernel.mechanism == "linux-6.1")
            and not (option == placement.OPT_HIGHATOMIC and tables.options[placement.OPT_GROUPING])
        ):
            yield f"{name} is set, but {kernel.mechanism} has no such mechanism"
    if tables.options[reserve] == tables.options[boot]:
        yield f"OPT_RESERVE_TYPE is OPT_BOOT_TYPE, {tables.options[boot]}: all would be reserve"
