"""What a check has found, as other programs want it: JSON, JUnit, markdown, GitHub's annotations.

All text in findings may come from scenarios and plug-ins; each report escapes it in its own way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from memsim.check.findings import ORDER, Finding, Group, Outcome
from memsim.errors import visible
from memsim.results.tables import markdown_text

SHOWN = 50
"""Findings that are shown unless more are asked for."""


def as_lines(outcomes: Sequence[Outcome], limit: int = SHOWN) -> list[str]:
    """Write findings one to a line, then a line for each scenario."""
    shown, more = _limited(outcomes, limit)
    lines = [str(finding) for _, finding in shown]
    lines += [more] if more else []
    for outcome in outcomes:
        lines += [visible(f"note: {outcome.scenario}: {note}") for note in outcome.notes]
    return lines + [outcome.summary() for outcome in outcomes]


def _limited(outcomes: Sequence[Outcome], limit: int) -> tuple[list[tuple[Outcome, Finding]], str]:
    """Take the first findings of all, and say how many more there are."""
    pairs = [(outcome, finding) for outcome in outcomes for finding in outcome.findings]
    pairs.sort(key=lambda pair: (ORDER.index(pair[1].kind), -pair[1].size))
    rest = len(pairs) - limit
    return pairs[:limit], f"and {rest:,} more (--limit {len(pairs)} shows all)" if rest > 0 else ""


def as_json(outcomes: Sequence[Outcome], *, strict: bool) -> str:
    """Write all findings as data."""
    data = [
        {
            "scenario": outcome.scenario,
            "baseline": str(outcome.baseline),
            "trials": outcome.trials,
            "figures": outcome.figures,
            "passes": not outcome.fails(strict=strict),
            "notes": list(outcome.notes),
            "findings": [
                {
                    "kind": finding.kind,
                    "fails": finding.fails(strict=strict),
                    "file": str(finding.path),
                    "line": finding.line,
                    "table": finding.group.table,
                    "policy": finding.group.policy,
                    "point": dict(finding.group.point),
                    "figure": finding.figure,
                    "old": finding.old,
                    "new": finding.new,
                    "message": finding.message,
                }
                for finding in outcome.findings
            ],
        }
        for outcome in outcomes
    ]
    return json.dumps(data, indent=2)


def as_junit(outcomes: Sequence[Outcome], *, strict: bool) -> bytes:
    """Write JUnit XML: a suite for each scenario, a case for each metric of a policy and point."""
    root = ElementTree.Element("testsuites", name="memsim check")
    for outcome in outcomes:
        _add_suite(root, outcome, strict=strict)
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _add_suite(root: ElementTree.Element, outcome: Outcome, *, strict: bool) -> None:
    cases: dict[tuple[Group, str], list[Finding]] = {(Group(), ""): []}
    cases |= {one: [] for one in outcome.groups}
    for finding in outcome.findings:
        group = finding.group
        alone = (group, finding.figure)
        cases.setdefault(alone if alone in cases else (group, ""), []).append(finding)
    failing = [any(f.fails(strict=strict) for f in findings) for findings in cases.values()]
    suite = ElementTree.SubElement(
        root, "testsuite", name=visible(outcome.scenario), tests=str(len(cases)),
        failures=str(sum(failing)), errors="0", skipped="0",
    )  # fmt: skip
    for ((group, figure), findings), fails in zip(cases.items(), failing, strict=True):
        place, name = _case_names(outcome, group, figure)
        case = ElementTree.SubElement(suite, "testcase", classname=place, name=name)
        text = "\n".join(map(str, findings))
        if fails:
            first = next(f for f in findings if f.fails(strict=strict))
            failure = ElementTree.SubElement(case, "failure", message=first.text, type=first.kind)
            failure.text = text
        elif findings:
            ElementTree.SubElement(case, "system-out").text = text


def _case_names(outcome: Outcome, group: Group, figure: str) -> tuple[str, str]:
    point = [f"{axis} = {value}" for axis, value in group.point]
    place = ", ".join([".".join(filter(None, (outcome.scenario, group.policy))), *point])
    return visible(place), visible(figure or group.table or "scenario")


def as_markdown(outcomes: Sequence[Outcome], *, strict: bool, limit: int = SHOWN) -> str:
    """Write a table of GitHub's kind with a row for each scenario, then the findings."""
    lines = ["### memsim check", "", "| | scenario | trials | figures | found |"]
    lines.append("|:-:|---|--:|--:|---|")
    for outcome in outcomes:
        mark = "❌" if outcome.fails(strict=strict) else "✅"
        found = outcome.summary().rpartition("figures compared: ")[2]
        name = markdown_text(outcome.scenario)
        lines.append(f"| {mark} | {name} | {outcome.trials:,} | {outcome.figures:,} | {found} |")
    shown, more = _limited(outcomes, limit)
    if shown:
        lines += ["", "| finding | what | where |", "|---|---|---|"]
    for _, f in shown:
        what = markdown_text(f.message)
        lines.append(f"| {f.kind} | {what} | {markdown_text(f.place)} |")
    notes = [f"{o.scenario}: {note}" for o in outcomes for note in o.notes]
    texts = [*([more] if more else []), *notes]
    return "\n".join(lines + [line for text in texts for line in ("", markdown_text(text))]) + "\n"


def as_annotations(
    outcomes: Sequence[Outcome], *, strict: bool, limit: int = SHOWN
) -> Iterator[str]:
    """Write GitHub's workflow commands, which mark lines of files in a pull request."""
    shown, _ = _limited(outcomes, limit)
    for outcome, finding in shown:
        passing = "notice" if finding.kind == "better" else "warning"
        command = "error" if finding.fails(strict=strict) else passing
        places = {"file": str(finding.path), "line": str(finding.line or "")}
        places["title"] = f"{outcome.scenario}: {finding.kind}"
        properties = ",".join(f"{k}={_property(v)}" for k, v in places.items() if v)
        yield f"::{command} {properties}::{_command_text(finding.message)}"


def _command_text(text: str) -> str:
    return visible(text).replace("%", "%25")


def _property(text: str) -> str:
    return _command_text(text).replace(":", "%3A").replace(",", "%2C")
