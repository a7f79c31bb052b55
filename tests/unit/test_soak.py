"""A small soak: many events under pressure, and all accounts still right."""

import pytest

from bench.soak import soak


@pytest.mark.parametrize("profile", ["linux-6.1", "linux-2.6.14"])
def test_nothing_drifts(profile):
    policy = "mobility" if profile == "linux-6.1" else "light"
    looks = list(soak(200_000, 100_000, profile=profile, policy=policy))
    assert [look.events for look in looks] == [100_000, 200_000]
    assert 0 < looks[0].swapped_out < looks[1].swapped_out
