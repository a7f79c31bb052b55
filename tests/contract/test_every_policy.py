"""What holds for every policy that the folder offers, on each of its kernels, in each variant."""

from typing import get_args

import numpy as np
import pytest

from memsim import plugins
from memsim.conformance import CHECKS, Case, verify_on
from memsim.mm import Status, Use
from memsim.plugins import find, offered, summary
from memsim.policies import KERNELS
from memsim.policies._classes import CLASSES, type_names
from memsim.policies._validity import tables_of
from memsim.profiles import PROFILES

PAIRS = [(name, p) for name in offered("policies") for p in find("policies", name).Policy.PROFILES]


def variants(name):
    """The options to try a policy under: none given, and each choice of each of them."""
    model = plugins.model_of("policies", name)
    found = [{}]
    for key, field in model.model_fields.items():
        choices = (True, False) if field.annotation is bool else get_args(field.annotation)
        found += [
            {key: choice}
            for choice in choices
            if isinstance(choice, bool | str | int) and choice != field.default
        ]
    return found


each_variant = pytest.mark.parametrize(
    ("name", "profile", "options"),
    [(name, profile, options) for name, profile in PAIRS for options in variants(name)],
    ids=lambda value: value if isinstance(value, str) else ",".join(map(str, value.values())),
)


@each_variant
def test_a_policy_conforms(name, profile, options):
    verdicts = verify_on(name, profile, options)
    assert [verdict.check for verdict in verdicts] == list(CHECKS)
    assert [(v.check, v.text) for v in verdicts if v.ok is not True] == []


@each_variant
def test_the_machine_is_filled_by_what_the_kit_asks(name, profile, options):
    kernel = KERNELS[PROFILES[profile].mechanism]
    policy = plugins.build("policies", name, options)
    case = Case(PROFILES[profile], kernel, tables_of(name, policy, kernel))
    outcome = case.memory().run(*case.events)
    met = {Status(status) for status in np.unique(outcome.status).tolist()}
    assert met == set(Status) - {Status.TOUCHED, Status.SKIPPED}


@pytest.mark.parametrize("name", offered("policies"))
def test_a_policy_says_what_it_is(name):
    assert summary("policies", name).endswith(".")
    types = type_names(name)
    assert list(types) == [called for called, _ in CLASSES.values()]
    assert set(types.values()) <= set(find("policies", name).Policy.TYPES)


def test_every_use_has_a_class():
    assert list(CLASSES) == list(Use)


def test_the_classes_of_2005_and_of_6_1_are_told_apart():
    light, mobility = type_names("light"), type_names("mobility")
    assert light["block-device buffers"] == "EasyRclm" and light["slab"] == "NoRclm"
    assert mobility["inode"] == "Reclaimable" and mobility["page table"] == "Unmovable"


def test_the_variants_of_a_policy_are_its_options_one_by_one():
    assert variants("light") == [
        {}, {"variant": "page_flag"}, {"variant": "v22"}, {"enabled": False},
    ]  # fmt: skip
