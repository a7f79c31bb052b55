"""Fields of rows that several modules share: no two of them lie at the same place."""

from collections import Counter

from memsim.kernels import compact_control, system
from memsim.kernels.linux_2_6_14 import page_reclaim, shrinker

WIDTHS = {
    "S_COMPACT": compact_control.NR_CONTROL_FIELDS,
    "S_READ_AT": system.READ_SEQUENCES,
    "S_MIGRATION": system.NR_MIGRATION_FIELDS,
}
"""Names that several fields begin at."""
BEGINS = {"S_OWN_2005"}
"""Where the numbers of 2.6.14's modules begin; not a field."""


def fields(*modules):
    """Return the fields of the system row: name -> number."""
    found = {}
    for module in modules:
        found |= {
            name: number
            for name, number in vars(module).items()
            if name.startswith("S_") and isinstance(number, int) and name not in BEGINS
        }
    return found


def test_the_fields_of_the_system_row_are_distinct():
    found = fields(system, page_reclaim, shrinker)
    assert {"S_NOW", "S_COST", "S_SLAB_PARTLY", "S_NUMA_BALANCING"} <= set(found)
    taken = Counter(
        at for name, first in found.items() for at in range(first, first + WIDTHS.get(name, 1))
    )
    assert [at for at, count in taken.items() if count > 1] == []
    assert max(taken) < system.SYSTEM_FIELDS
