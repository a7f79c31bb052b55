"""Tables that the kernels could not carry out are refused, each with its reason."""

import numpy as np
import pytest

from memsim import plugins
from memsim.kernels.placement import (
    NR_OPTIONS,
    OPT_BOOST,
    OPT_BOOT_TYPE,
    OPT_FLOOR,
    OPT_RESERVE_SHIFT,
    OPT_RESERVE_TYPE,
    PolicyTables,
)
from memsim.plugins import find, offered
from memsim.policies import KERNELS, LINUX_2_6_14, LINUX_6_1, Kernel, policy_tables
from memsim.policies._validity import table_fault, tables_of
from memsim.policies.mobility import Policy
from memsim.profiles import PROFILES

TYPES = ("Unmovable", "Movable", "Reclaimable")
PPC64 = Kernel("linux-2.6.14", 12, 12)


def tables(**rows):
    """The tables of mobility with some values changed: field and index -> value."""
    found = Policy().tables(LINUX_6_1)
    for field, values in rows.items():
        array = getattr(found, field)
        for at, value in values.items():
            array[at] = value
    return found


def fault(**rows):
    return table_fault(tables(**rows), LINUX_6_1, TYPES)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"type_of_request": {3: 3}},
         "type_of_request of PAGE_CACHE is 3, expected 0 to 2 (TYPES)"),
        ({"type_of_request": {26: -1}}, "type_of_request of KERNEL is -1, expected 0 to 2 (TYPES)"),
        ({"fallback": {0: 3}},
         "fallback of type 0 names type 3, expected 0 to 2, or -1 at the end"),
        ({"fallback": {3: -2}},
         "fallback of type 1 names type -2, expected 0 to 2, or -1 at the end"),
        ({"fallback": {3: 1}}, "fallback of type 1 names its own type"),
        ({"fallback": {1: 2}}, "fallback of type 0 names type 2 twice"),
        ({"fallback": {0: -1}}, "fallback of type 0 goes on after -1"),
        ({"whole_from": {1: 12}}, "whole_from of type 1 is 12, expected 0 to 11"),
        ({"claim": {2: 3}}, "claim of type 2 is 3, expected 0 or 1 or 2"),
        ({"claim": {2: -1}}, "claim of type 2 is -1, expected 0 or 1 or 2"),
        ({"remainder": {0: 3}}, "remainder of type 0 is 3, expected 0 to 2"),
        ({"pcp_of": {3: 2}}, "pcp_of of type 3 is 2, expected 0 to 1"),
        ({"options": {OPT_BOOST: 2}}, "OPT_BOOST is 2, expected 0 to 1"),
        ({"options": {OPT_BOOT_TYPE: 3}}, "OPT_BOOT_TYPE is 3, expected 0 to 2"),
        ({"options": {OPT_RESERVE_TYPE: -2}}, "OPT_RESERVE_TYPE is -2, expected -1 to 2"),
        ({"options": {OPT_RESERVE_SHIFT: 64}}, "OPT_RESERVE_SHIFT is 64, expected 0 to 31"),
        ({"options": {OPT_FLOOR: 1}}, "OPT_FLOOR is set, but linux-6.1 has no such mechanism"),
        ({"options": {OPT_RESERVE_TYPE: 0}},
         "OPT_RESERVE_TYPE is set, but linux-6.1 has no such mechanism"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named(rows, message):
    assert fault(**rows) == message


def test_sound_tables_have_no_fault():
    assert fault() == ""


def test_more_types_than_a_kernel_has_are_refused():
    found = table_fault(tables(), LINUX_6_1, (*TYPES, "Fourth"))
    assert found == "TYPES names 4 types, linux-6.1 has 3"


def test_mechanisms_of_6_1_are_none_of_2005():
    found = table_fault(tables(claim={0: 0, 1: 0, 2: 0}), LINUX_2_6_14, TYPES)
    assert found == "OPT_NOFRAGMENT is set, but linux-2.6.14 has no such mechanism"


def test_a_reserve_of_all_pageblocks_is_none():
    options = {OPT_RESERVE_TYPE: 3, OPT_RESERVE_SHIFT: 3, OPT_BOOT_TYPE: 3}
    found = policy_tables(np.zeros(27, np.int32), options=options)
    assert table_fault(found, LINUX_2_6_14, TYPES) == (
        "OPT_RESERVE_TYPE is OPT_BOOT_TYPE, 3: all would be reserve"
    )


@pytest.mark.parametrize("field", PolicyTables._fields)
def test_each_table_has_its_shape_and_type(field):
    sound = tables()
    array = getattr(sound, field)
    longer = sound._replace(**{field: np.append(array, array[:1])})
    assert table_fault(longer, LINUX_6_1, TYPES).startswith(f"{field} has shape ")
    wider = sound._replace(**{field: array.astype(np.int64)})
    assert table_fault(wider, LINUX_6_1, TYPES) == f"{field} has dtype int64, expected int32"


@pytest.mark.parametrize("name", offered("policies"))
@pytest.mark.parametrize("kernel", [*KERNELS.values(), PPC64], ids=str)
def test_all_policies_have_sound_tables_on_their_kernels(name, kernel):
    model = find("policies", name).Policy
    mine = {PROFILES[profile].mechanism for profile in model.PROFILES}
    if kernel.mechanism not in mine:
        assert set(mine) < set(KERNELS)
        return
    found = tables_of(name, model(), kernel)
    assert all(array.flags.c_contiguous and array.dtype == np.int32 for array in found)


class Moody(Policy):
    """Has other tables each time, and keeps the arrays that it gave."""

    def tables(self, kernel):
        Moody.calls += 1
        return policy_tables(np.full(27, Moody.calls % 2, np.int32))


def test_tables_that_differ_are_refused():
    Moody.calls = 0
    with pytest.raises(plugins.PluginFault, match=r"mobility\.py: tables\(\): differ when"):
        tables_of("mobility", Moody(), LINUX_6_1)


def test_tables_are_copies():
    shared = Policy().tables(LINUX_6_1)

    class Shared(Policy):
        """Gives the same arrays each time."""

        def tables(self, kernel):
            return shared

    found = tables_of("mobility", Shared(), LINUX_6_1)
    assert not any(np.shares_memory(one, other) for one, other in zip(found, shared, strict=True))


def test_what_an_array_says_of_itself_counts_for_nothing():
    class Liar(np.ndarray):
        def tolist(self):
            return [0] * self.size

    class Lying(Policy):
        """Hides a value that is out of range."""

        def tables(self, kernel):
            return tables(claim={0: 9})._replace(claim=np.full(4, 9, np.int32).view(Liar))

    with pytest.raises(plugins.PluginFault, match=r"claim of type 0 is 9, expected 0 or 1 or 2"):
        tables_of("mobility", Lying(), LINUX_6_1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"claim": (0,) * 5}, r"expected at most 4 values, found \[0, 0, 0, 0, 0\]"),
        ({"fallback": ((1, 2, 3, 1),)}, r"expected at most 3 values, found \[1, 2, 3, 1\]"),
        ({"fallback": ((),) * 5}, "there are no 5 rows of fallback"),
        ({"options": {NR_OPTIONS: 1}}, "there are no options"),
    ],
    ids=str,
)
def test_tables_have_room_for_no_more(rows, message):
    with pytest.raises(ValueError, match=message):
        policy_tables(np.zeros(27, np.int32), **rows)
