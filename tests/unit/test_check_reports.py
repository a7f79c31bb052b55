"""Reports of a check: their whole text, and that no text of a user steers who reads them."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from memsim.check.findings import Finding, Group, Outcome, in_order
from memsim.check.reports import as_annotations, as_json, as_junit, as_lines, as_markdown

BASE = Path("results/baselines/tiny")
NONE = Group("trials", "none")
POINT = Group("vmstat", "none", (("machine.max_order", "12"),))
NASTY = "</failure>]]>\x1b[31m\0\n::error::%0A|`<b>&amp;\ufffe\u202e*,:"


def finding(kind, message="m", *, group=NONE, figure="fallback.events", line=3, size=0.0):
    path = BASE / f"{group.table or 'scenario'}.csv"
    return Finding(kind, group, figure, path, line, message, size, "14", "19")


def outcome(*findings, notes=()):
    groups = ((NONE, "fallback.events"), (NONE, "numa.hit"), (POINT, ""))
    return Outcome("tiny", BASE, 4, 1204, groups, in_order([*findings]), notes)


WORSE = finding("worse", "fallback.events of none, seed 2: 14 -> 19", size=0.357)
BETTER = finding("better", "numa.hit of none, seed 2: 1 -> 2", figure="numa.hit")
COUNTER = finding("changed", "a counter", group=POINT, figure="vmstat:numa_hit", line=9)
WHOLE = finding("scenario", "machine changed", group=Group(), figure="", line=0)
MIXED = outcome(BETTER, COUNTER, WORSE, WHOLE, notes=("another numpy",))


def test_lines():
    assert as_lines([MIXED, outcome()]) == [
        "results/baselines/tiny/scenario.csv: scenario: machine changed",
        "results/baselines/tiny/trials.csv:3: worse: fallback.events of none, seed 2: 14 -> 19",
        "results/baselines/tiny/vmstat.csv:9: changed: a counter",
        "results/baselines/tiny/trials.csv:3: better: numa.hit of none, seed 2: 1 -> 2",
        "note: tiny: another numpy",
        "tiny: 4 trials, 1,204 figures compared: 1 scenario, 1 worse, 1 changed, 1 better",
        "tiny: 4 trials, 1,204 figures compared: as in the baseline",
    ]


def test_a_limit_keeps_the_worst_of_all_scenarios():
    small, large = finding("worse", "small", size=0.1), finding("worse", "large", size=0.9)
    many = [finding("better") for _ in range(998)]
    lines = as_lines([outcome(small, *many), outcome(large)], limit=2)
    assert [line.rpartition(" ")[2] for line in lines[:2]] == ["large", "small"]
    assert lines[2] == "and 998 more (--limit 1000 shows all)"
    assert lines[3].endswith(": 1 worse, 998 better")


@pytest.mark.parametrize(("strict", "passes"), [(False, [True, False, True]), (True, [False] * 3)])
def test_json_is_all_there_is(strict, passes):
    data = json.loads(as_json([outcome(BETTER), MIXED, outcome(COUNTER)], strict=strict))
    assert [one["passes"] for one in data] == passes
    assert data[1]["notes"] == ["another numpy"]
    assert data[1]["findings"][1] == {
        "kind": "worse", "fails": True, "file": "results/baselines/tiny/trials.csv", "line": 3,
        "table": "trials", "policy": "none", "point": {}, "figure": "fallback.events",
        "old": "14", "new": "19", "message": "fallback.events of none, seed 2: 14 -> 19",
    }  # fmt: skip
    assert data[1]["findings"][2]["point"] == {"machine.max_order": "12"}


def cases(content):
    root = ElementTree.fromstring(content)
    return root, {(c.get("classname"), c.get("name")): c for c in root.iter("testcase")}


def test_junit_has_a_case_for_each_figure_and_a_failure_for_each_that_fails():
    root, found = cases(as_junit([MIXED], strict=False))
    assert list(found) == [
        ("tiny", "scenario"), ("tiny.none", "fallback.events"), ("tiny.none", "numa.hit"),
        ("tiny.none, machine.max_order = 12", "vmstat"),
    ]  # fmt: skip
    (suite,) = root
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("tiny", "4", "1")
    (failure,) = root.iter("failure")
    assert failure in found["tiny.none", "fallback.events"]
    assert failure.get("type") == "worse"
    assert failure.text == str(WORSE)
    assert found["tiny.none", "numa.hit"].findtext("system-out") == str(BETTER)


def test_junit_fails_for_anything_if_strict():
    root, found = cases(as_junit([MIXED], strict=True))
    assert root[0].get("failures") == "4"
    assert all(case.find("failure") is not None for case in found.values())


def test_junit_has_a_place_for_rows_that_are_gone():
    gone = finding("missing row", "none, seed 2", figure="")
    _, found = cases(as_junit([outcome(gone)], strict=False))
    assert found["tiny.none", "trials"].find("failure").get("message") == (
        "missing row: none, seed 2"
    )


def test_markdown():
    assert as_markdown([MIXED, outcome()], strict=False, limit=2) == (
        "### memsim check\n\n"
        "| | scenario | trials | figures | found |\n"
        "|:-:|---|--:|--:|---|\n"
        "| ❌ | tiny | 4 | 1,204 | 1 scenario, 1 worse, 1 changed, 1 better |\n"
        "| ✅ | tiny | 4 | 1,204 | as in the baseline |\n\n"
        "| finding | what | where |\n"
        "|---|---|---|\n"
        "| scenario | machine changed | results/baselines/tiny/scenario.csv |\n"
        "| worse | fallback.events of none, seed 2: 14 -&gt; 19 "
        "| results/baselines/tiny/trials.csv:3 |\n\n"
        "and 2 more (--limit 4 shows all)\n\n"
        "tiny: another numpy\n"
    )


def test_annotations_mark_lines():
    assert list(as_annotations([MIXED], strict=False)) == [
        "::warning file=results/baselines/tiny/scenario.csv,title=tiny%3A scenario"
        "::machine changed",
        "::error file=results/baselines/tiny/trials.csv,line=3,title=tiny%3A worse"
        "::fallback.events of none, seed 2: 14 -> 19",
        "::warning file=results/baselines/tiny/vmstat.csv,line=9,title=tiny%3A changed::a counter",
        "::notice file=results/baselines/tiny/trials.csv,line=3,title=tiny%3A better"
        "::numa.hit of none, seed 2: 1 -> 2",
    ]
    assert all(line.startswith("::error ") for line in as_annotations([MIXED], strict=True))


@pytest.fixture
def nasty():
    group = Group("trials", NASTY, ((NASTY, NASTY),))
    path = BASE / NASTY.replace("/", "").replace("\0", "")
    one = Finding("worse", group, NASTY, path, 3, NASTY)
    return Outcome(NASTY, path, 1, 1, ((group, NASTY),), (one,), (NASTY,))


def test_text_of_users_steers_no_terminal(nasty):
    lines = as_lines([nasty])
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


def test_text_of_users_is_text_in_xml(nasty):
    root, found = cases(as_junit([nasty], strict=False))
    assert len(found) == 2
    (failure,) = root.iter("failure")
    assert "</failure>]]>\\x1b[31m\\x00\\n" in failure.get("message")
    assert all(text.isprintable() for text in (failure.text, root[0].get("name")))


def test_text_of_users_is_text_in_markdown(nasty):
    text = as_markdown([nasty], strict=False)
    assert "<" not in text and "\x1b" not in text and "\0" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [6, 6, 6, 4, 4, 4]
    assert "\\`&lt;b&gt;&amp;amp;" in text


def test_text_of_users_gives_github_no_command(nasty):
    (line,) = as_annotations([nasty], strict=False)
    assert line.isprintable()
    properties, message = line.removeprefix("::error ").split("::", 1)
    assert [pair.partition("=")[0] for pair in properties.split(",")] == ["file", "line", "title"]
    assert "%250A" in message and "%250A" in properties
    assert "%3A%3Aerror%3A%3A" in properties
