"""memsim against a real kernel: pages moved between nodes by system calls (capture e2).

``make truth CAPTURES=DIR`` judges the captures of another folder instead of the committed ones.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from memsim.cli import main
from memsim.errors import InputError
from memsim.fidelity.migrations import (
    RECORD,
    START,
    has_migrations,
    judge_case,
    judge_migrations,
    pressure_of,
    read_cases,
    repeat_case,
    swap_bytes,
)
from memsim.traces.capture import read_snapshot

COMMITTED = Path(__file__).parent.parent / "data" / "captures"
FOLDER = Path(os.environ.get("MEMSIM_CAPTURES", COMMITTED))
CAPTURES = sorted(path.parent for path in FOLDER.rglob(RECORD) if has_migrations(path.parent))
E2 = COMMITTED / "e2"


@pytest.fixture(scope="module")
def report():
    return judge_migrations(E2)


@pytest.fixture(scope="module")
def pressure():
    return pressure_of(read_cases(E2 / RECORD), swap=0)


@pytest.fixture(scope="module")
def snapshot():
    return read_snapshot(E2 / START)


@pytest.mark.parametrize("folder", [f for f in CAPTURES if f != E2], ids=lambda f: f.name)
def test_every_call_comes_to_what_the_kernels_did(folder):
    other = judge_migrations(folder)
    assert other.exact, other.to_text()


def test_every_case_of_e2_comes_to_what_the_kernels_did(report):
    assert report.exact, report.to_text()
    verdicts = Counter(case.verdict for case in report.cases)
    # Two where the process had 239 other pages to move, six where the target was full.
    assert verdicts == {"exact": 20, "within": 8}


def test_each_pinned_page_takes_ten_targets(report):
    pinned = [case for case in report.cases if case.label.startswith("c_")]
    assert len(pinned) == 6
    for case in pinned:
        found = {q.name: q for q in case.quantities}
        moved, stayed = (
            int(found[name].memsim.replace(",", ""))
            for name in ("pgmigrate_success", "pgmigrate_fail")
        )
        freed = found["pgfree"]
        assert freed.kernel == freed.memsim == f"{moved + 10 * stayed:,}"


def variant(tmp_path, **changes):
    """The first case with other arguments."""
    line = json.loads((E2 / RECORD).read_text().splitlines()[0])
    args = dict(word.split("=") for word in line["args"].split())
    args |= {key: value for key, value in changes.items() if key not in line}
    line |= {key: value for key, value in changes.items() if key in line}
    line["args"] = " ".join(f"{key}={value}" for key, value in args.items())
    (tmp_path / RECORD).write_text(json.dumps(line))
    return read_cases(tmp_path / RECORD)[0]


FULL = [761468, 60000]
VARIANTS = [
    pytest.param({"label": "g_shared"}, 0, {-13: 32768}, {0: 32768}, id="shared"),
    pytest.param({"label": "g_shared", "all": 1}, 0, {1: 32768}, {1: 32768}, id="move_all"),
    pytest.param(
        {"label": "f_thp_pins", "kind": "thp", "pinned": 3277},
        32768,
        {-9999: 32767, -16: 1},
        {0: 32768},
        id="a pinned THP stays whole, and the call gives up",
    ),
    pytest.param(
        {"label": "f_hugetlb", "kind": "hugetlb"},
        0,
        {-13: 64, 1: 32704},
        {1: 32768},
        id="an address inside of a hugetlb page",
    ),
    pytest.param(
        {"label": "f_thp_bound", "kind": "thp", "op": "mbind"},
        0,
        {-9999: 32768},
        {1: 32768},
        id="mbind writes no status",
    ),
    pytest.param(
        {"label": "b_cache", "free_kb_before": FULL}, 0, {1: 32768}, {1: 32768}, id="page cache"
    ),
    pytest.param(
        {"label": "b_dirty", "free_kb_before": FULL}, 0, {1: 32768}, {1: 32768}, id="dirty cache"
    ),
    pytest.param(
        {"label": "b_hog", "free_kb_before": FULL, "swap": 1},
        0,
        {1: 32768},
        {1: 32768},
        id="others' anonymous pages are swapped out",
    ),
]


@pytest.mark.parametrize(("changes", "ret", "status", "where"), VARIANTS)
def test_cases_that_no_record_shows(snapshot, pressure, tmp_path, changes, ret, status, where):
    moved = repeat_case(snapshot, pressure, variant(tmp_path, **changes))
    assert moved.outcome.ret == ret
    assert moved.status == status
    assert moved.where_after == where


def test_if_all_others_are_mlocked_pages_that_were_just_moved_are_swapped_out(
    snapshot, pressure, tmp_path
):
    changes = {"label": "b_hoglocked", "free_kb_before": FULL, "swap": 1}
    moved = repeat_case(snapshot, pressure, variant(tmp_path, **changes))
    assert moved.status == {1: 32768}
    assert moved.where_after.keys() == {1, -2}


def test_another_outcome_is_told_apart(snapshot, pressure):
    cases = read_cases(E2 / RECORD)
    moved = repeat_case(snapshot, pressure, cases[0])
    assert judge_case(cases[0], moved).verdict == "exact"
    assert judge_case(cases[3], moved).verdict == "DIFFERS"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "records no migration"),
        ("no json\n", "is no migration"),
        ('{"args": "op=fly", "pages": 1}\n', "is no migration"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path, text, message):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(InputError, match=message):
        read_cases(tmp_path / RECORD)


def test_an_unknown_call_or_node_is_refused(tmp_path):
    for changes in ({"op": "fly"}, {"to": 7}, {"kind": "odd"}, {"pinned": -1}):
        with pytest.raises(InputError, match="is no migration"):
            variant(tmp_path, **changes)


def test_a_machine_is_as_slow_as_its_calls_were(pressure):
    # 28 calls took 13,129.7 ms and moved 734,592 pages.
    assert abs(pressure.migrate_ns - 13_129.7e6 / 734_592) < 1
    assert pressure_of([], swap=8192).swap_slots == 2
    assert pressure_of([], swap=0).migrate_ns == 1_100


def test_the_size_of_swap_is_read_where_it_is_known(tmp_path):
    path = tmp_path / "meminfo.txt"
    assert swap_bytes(path) == 0
    path.write_text("MemTotal: 5 kB\nSwapTotal:   2048 kB\n")
    assert swap_bytes(path) == 2 << 20


def test_one_command_says_it(report, monkeypatch):
    monkeypatch.setattr("memsim.fidelity.migrations.judge_migrations", lambda _: report)
    result = CliRunner().invoke(main, ["fidelity", str(E2)])
    assert result.exit_code == 0
    assert result.stdout == report.to_text() + "\n"
    whole = json.loads(CliRunner().invoke(main, ["fidelity", str(E2), "--json"]).stdout)
    assert len(whole["cases"]) == 28
