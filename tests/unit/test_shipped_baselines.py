"""Every shipped scenario has a baseline of today's text; ``make check`` holds its figures to it."""

import pytest

from memsim.check import baselines_in
from memsim.check.targets import Chosen, targets_of
from memsim.load import shipped_scenarios

MAX_BYTES = 300_000


@pytest.fixture(scope="module")
def place(request):
    return request.config.rootpath / "results/baselines"


def test_every_shipped_scenario_has_a_baseline_and_nothing_else_has(place):
    assert set(baselines_in(place)) == set(shipped_scenarios())


def test_baselines_are_of_the_scenarios_as_they_are(place, tmp_path):
    targets = targets_of([], place, tmp_path, Chosen(), update=False)
    then = {target.folder.name: target.base.scenario.text_hash for target in targets}
    now = {target.folder.name: target.scenario.text_hash for target in targets}
    assert now == then, "memsim check --baseline results/baselines --update"
    assert len(now) == len(shipped_scenarios())


def test_baselines_are_small(place):
    sizes = {
        folder.name: sum(path.stat().st_size for path in folder.iterdir())
        for folder in baselines_in(place).values()
    }
    assert {name: size for name, size in sizes.items() if size > MAX_BYTES} == {}
