"""Policies that are written in Python: checked as those of a file, and told in the run."""

import pytest

import memsim
from memsim import Policy
from memsim.errors import InputError


def test_a_variant_stands_beside_the_policies_of_the_file():
    zone = Policy("none", cmdline="kernelcore=64M")
    plain = Policy("mobility", options={"boost": False})
    scenario = memsim.load("tiny", variants={"zone": zone, "plain": plain}, policies=["plain"])
    assert list(scenario.policies) == ["plain"]
    assert scenario.policies["plain"].options == {"boost": False}
    both = memsim.load("tiny", variants={"zone": zone}, sets=["policies.zone.boost=false"])
    assert list(both.policies) == ["none", "mobility", "zone"]
    assert both.policies["zone"].kernel.kernelcore.bytes == 64 << 20
    assert both.overrides == (
        'policies.zone={"cmdline":"kernelcore=64M","placement":"none"}',
        "policies.zone.boost=false",
    )


def test_a_variant_takes_the_place_of_a_policy_of_its_name():
    scenario = memsim.load("tiny", variants={"none": Policy("mobility")})
    assert [spec.placement for spec in scenario.policies.values()] == ["mobility", "mobility"]


@pytest.mark.parametrize(
    ("name", "policy", "said"),
    [
        ("a.b", Policy("none"), 'variant a.b: expected a name that matches .*, found "a.b"'),
        ("z", Policy("nne"), 'variant z: there is no policy "nne"\n  hint: did you mean "none"?'),
        ("z", Policy("none", cmdline="kernelcor=1"), "variant z: kernel command line: expected"),
        ("z", Policy("light"), 'variant z: placement "light" does not go with profile'),
        ("z", Policy("none", options={"bost": True}), 'variant z: unknown key "bost"'),
        ("z", Policy("none", options={"boost": object()}), "options must be plain data"),
        ("z", Policy("none", options={"boost": "\ud800"}), "text is not valid Unicode"),
    ],
)
def test_a_wrong_variant_is_an_input_error(name, policy, said):
    with pytest.raises(InputError, match=said):
        memsim.load("tiny", variants={name: policy})


def test_a_variant_of_a_broken_file_says_what_is_wrong_with_the_file(tmp_path):
    (tmp_path / "x.yaml").write_text("policies: [none]\n")
    with pytest.raises(InputError, match="policies: expected a mapping"):
        memsim.load(tmp_path / "x.yaml", variants={"z": Policy("none")})
