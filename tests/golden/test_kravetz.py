"""What scenario ``kravetz-2005`` claims (history-2005 4.1), read from its baseline.

``memsim check`` holds the baseline's figures to what memsim computes today.
"""

import csv

import pytest

SECTIONS = 384


@pytest.fixture(scope="module")
def removed(request):
    place = request.config.rootpath / "results/baselines/kravetz-2005/trials.csv"
    with place.open(newline="") as file:
        return {row["policy"]: int(row["hotplug.blocks_removed"]) for row in csv.DictReader(file)}


def test_without_grouping_almost_no_section_can_be_removed(removed):
    assert removed["none"] <= 0.03 * SECTIONS


def test_with_the_full_patch_83_to_92_percent_can(removed):
    assert 0.83 <= removed["full"] / SECTIONS <= 0.92
