"""The conformance kit finds what is wrong: each check fails for the fault that it is for."""

import json
from itertools import count

import numpy as np
import pytest
from click.testing import CliRunner
from plugin_files import POLICY, changed

from memsim import conformance
from memsim.cli import main
from memsim.conformance import CHECKS, Case, verify, verify_on
from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.mm import Status
from memsim.policies import LINUX_6_1
from memsim.policies.mobility import Policy
from memsim.profiles import PROFILES


def failing(name="mobility", profile="linux-6.1"):
    """The checks that fail, with what they say."""
    return {v.check: v.text for v in verify_on(name, profile) if v.ok is False}


@pytest.fixture
def faulty(monkeypatch):
    """Let ``change(memory, events, outcome)`` return the outcome of every batch."""

    def install(change):
        monkeypatch.setattr(Memory, "run", lambda self, *e: change(self, e, run(self, *e)))

    run = Memory.run
    return install


def test_a_page_handed_out_twice_is_found(faulty):
    def twice(memory, events, outcome):
        served = np.flatnonzero((outcome.status == Status.OK) & (events[0] == 0))
        pfn = outcome.pfn.copy()
        pfn[served[1:2]] = pfn[served[:1]][: len(served[1:2])]
        return outcome._replace(pfn=pfn)

    faulty(twice)
    assert failing()["allocation"].endswith("is handed out twice")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(1 << 30, "is in no zone"), (4097, "is not aligned to its order")],
)
def test_a_block_out_of_place_is_found(faulty, wrong, message):
    def misplaced(memory, events, outcome):
        pfn = np.where((outcome.status == Status.OK) & (events[0] == 3), wrong, outcome.pfn)
        return outcome._replace(pfn=pfn)

    faulty(misplaced)
    assert message in failing()["allocation"]


def test_another_page_freed_is_found(faulty):
    def other(memory, events, outcome):
        pfn = np.where(outcome.status == Status.FREED, outcome.pfn + 1, outcome.pfn)
        return outcome._replace(pfn=pfn)

    faulty(other)
    assert " is freed instead of " in failing()["allocation"]


def test_lost_pages_are_found(faulty):
    def lose(memory, events, outcome):
        memory.add_zone_field(0, L.Z_NR_FREE_PAGES, -1)
        return outcome

    faulty(lose)
    found = failing()
    assert found["conservation"] == "12288 pages became 12287 by event 250"
    assert "the lists hold" in found["invariants"]


def test_chance_is_found(faulty):
    tick = count()

    def chance(memory, events, outcome):
        memory.mem.events[0] += next(tick)
        return outcome

    faulty(chance)
    assert set(failing()) == {"determinism", "batches"}


def test_dependence_on_batches_is_found(faulty):
    def per_batch(memory, events, outcome):
        memory.mem.events[0] += 1
        return outcome

    faulty(per_batch)
    assert failing() == {"batches": "batches of 1 end in another state than a single one"}


def test_pages_that_do_not_come_back_are_found(monkeypatch):
    drain = Memory.drain_all
    calls = count()
    monkeypatch.setattr(Memory, "drain_all", lambda self: None if next(calls) % 2 else drain(self))
    case = Case(PROFILES["linux-6.1"], LINUX_6_1, Policy().tables(LINUX_6_1))
    assert "free pages of 4096 when all is freed" in conformance._returned(case)


def test_pages_that_do_not_merge_are_found(monkeypatch):
    census = Memory.census
    calls = count()

    def split(self):
        found = census(self)
        if next(calls) % 2:
            found.free_blocks[0, 10, 0] -= 1
            found.free_blocks[0, 9, 0] += 2
        return found

    monkeypatch.setattr(Memory, "census", split)
    case = Case(PROFILES["linux-6.1"], LINUX_6_1, Policy(highatomic=False).tables(LINUX_6_1))
    assert conformance._returned(case).startswith("zone 0 has not merged")


def test_a_slow_policy_is_found(monkeypatch):
    monkeypatch.setattr(conformance, "_ns_per_event", lambda cases: [10.0, 101.0])
    assert failing() == {"speed": "101 ns, 10.10x"}


def verified(tmp_path, text, *args):
    (tmp_path / "mine.py").write_text(text)
    plugin = ["--plugin", str(tmp_path / "mine.py")]
    return CliRunner().invoke(main, ["list", "policies", "mine", "--verify", *plugin, *args])


def test_a_policy_of_ones_own_is_verified(tmp_path):
    result = verified(tmp_path, POLICY)
    assert result.exit_code == 0, result.output
    head, row = result.stdout.splitlines()
    assert head.split() == ["policy", "profile", *CHECKS]
    assert row.split()[:9] == ["mine", "linux-6.1", *["ok"] * 7]


def test_bad_tables_are_a_verdict(tmp_path):
    text = changed(POLICY, "fallback=((1, 2),)", "fallback=((0, 2),)")
    result = verified(tmp_path, text)
    assert result.exit_code == 1
    *_, row, sentence = result.stdout.splitlines()
    assert row.split() == ["mine", "linux-6.1", "FAILS", *["-"] * 7]
    assert sentence.endswith("mine.py:19: tables(): fallback of type 0 names its own type")
    assert json.loads(verified(tmp_path, text, "--format", "json").stdout)[0]["ok"] is False


def test_an_option_without_a_default_is_a_verdict(tmp_path):
    result = verified(tmp_path, changed(POLICY, "share: int = 3", "share: int"))
    assert result.exit_code == 1
    assert "tables: share: Field required" in result.stdout


def test_types_and_verify_are_for_policies():
    result = CliRunner().invoke(main, ["list", "metrics", "--verify"])
    assert result.exit_code == 2
    assert "--types and --verify are for policies" in result.stderr


def test_the_types_of_all_policies_are_one_table(tmp_path):
    (tmp_path / "mine.py").write_text(changed(POLICY, '("any",)', '("[red]\\x1b",)'))
    plugin = ["--plugin", str(tmp_path / "mine.py")]
    result = CliRunner().invoke(main, ["list", "policies", "--types", *plugin])
    assert result.exit_code == 0, result.output
    head, first, *rest = result.stdout.splitlines()
    assert "mobility" in head.split() and "mine" in head.split()
    assert first.split()[0] == "anonymous" and "[red]\\x1b" in first
    assert len(rest) == 8


def test_nobody_is_verified_by_a_name_that_does_not_exist():
    with pytest.raises(Exception, match="there is no policy"):
        list(verify(["mobilty"]))
