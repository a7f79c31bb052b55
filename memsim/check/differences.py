"""Compare two records, figure by figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from memsim.check.findings import Finding, Group, Kind, Outcome, in_order
from memsim.check.judging import Figure, judge, judge_series
from memsim.check.record import Record
from memsim.check.scenarios import declaration_findings, notes, scenario_findings
from memsim.check.tables import Key, Row, Table, by_attempt
from memsim.check.tolerance import Rule, Tolerance, tolerance_of
from memsim.schema import Column
from memsim.units import format_duration

Cell = tuple[Table, Row, str, str]
"""A row of the baseline, one of its columns, and what stands there now."""


def compare(base: Record, now: Record, rules: Sequence[Rule] = ()) -> Outcome:
    """Compare a record with its baseline; of the rules the last that fits a figure holds."""
    found = _Comparison(rules)
    found.findings += [*scenario_findings(base, now), *declaration_findings(base, now)]
    found.trials(base.tables["trials"], now.tables["trials"])
    found.table(by_attempt(base.tables["high_order"]), by_attempt(now.tables["high_order"]))
    found.table(base.tables["vmstat"], now.tables["vmstat"])
    found.judge_series()
    return Outcome(
        scenario=base.scenario.name,
        baseline=base.folder,
        trials=len(base.tables["trials"].rows),
        figures=found.figures,
        groups=tuple(found.groups()),
        findings=in_order(found.findings),
        notes=tuple(notes(base, now, found=bool(found.findings))),
    )


@dataclass
class _Comparison:
    """What is found while table after table is compared."""

    rules: Sequence[Rule]
    findings: list[Finding] = field(default_factory=list)
    figures: int = 0
    places: dict[tuple[str, Key], tuple[Table, Row]] = field(default_factory=dict)
    """A row of each table, policy and point that was compared."""
    settled: set[Key] = field(default_factory=set)
    """Trials of which nothing more is to be said: missing, new, failed or no longer so."""
    series: dict[tuple[str, str, Key], list[Cell]] = field(default_factory=dict)
    """Cells with the tolerance ``interval``, by table, column, and their key without the seed."""
    tolerances: dict[str, Tolerance] = field(default_factory=dict)

    def trials(self, base: Table, now: Table) -> None:
        """Compare the tables of trials, and settle those that have no figures to compare."""
        for key, row in base.rows.items():
            kind, fate = _fate(row, now.rows.get(key))
            if kind is not None:
                self._add(kind, base, row, f"{_where(base, row)}: {fate}")
                self.settled.add(key)
        for key, row in now.rows.items():
            if key not in base.rows:
                self._extra(base, now, row, f"{_where(now, row)}: the trial")
                self.settled.add(key)
        self.table(base, now)

    def table(self, base: Table, now: Table) -> None:
        """Compare all rows of two tables but those of settled trials."""
        self._columns(base, now)
        names = [name for name in base.values if name in now.columns]
        # Which zone served is worth a word only if nothing else says it: it comes last.
        names.sort(key=lambda name: name == "zone")
        for key, row in base.rows.items():
            if key[: len(base.trial_keys)] in self.settled:
                continue
            if key in now.rows:
                self._row(base, key, row, now.rows[key], names)
            else:
                self._add("missing row", base, row, f"{_subject(base, row)} is not there now")
        for key, row in now.rows.items():
            if key not in base.rows and key[: len(now.trial_keys)] not in self.settled:
                self._extra(base, now, row, _subject(now, row))

    def _columns(self, base: Table, now: Table) -> None:
        for name in base.values:
            if name not in now.columns:
                self._column("missing column", base, name, f"{name} is not there now")
        for name in now.values:
            if name not in base.columns:
                self._column("new column", base, name, f"{name} is not in the baseline")

    def _column(self, kind: Kind, base: Table, name: str, message: str) -> None:
        line = int(base.path.suffix == ".csv")
        self.findings.append(Finding(kind, Group(base.name), name, base.path, line, message))

    def _row(self, base: Table, key: Key, row: Row, now: Row, names: Sequence[str]) -> None:
        self.figures += len(names)
        seed = len(base.trial_keys) - 1
        self.places.setdefault((base.name, key[:seed]), (base, row))
        differs = False
        for name in names:
            old, new = row.cells[name], now.cells[name]
            if (old == new and not self.has_intervals) or (differs and name == "zone"):
                continue
            tolerance = self._tolerance(_name(base, name, row), base.columns[name])
            if tolerance.kind == "interval" and base.columns[name].dtype != "str" and old and new:
                series = (base.name, name, key[:seed] + key[seed + 1 :])
                self.series.setdefault(series, []).append((base, row, name, new))
            elif old != new:
                differs = True
                finding = judge(_figure(base, row, name, new), tolerance)
                self.findings += [finding] if finding else []

    def judge_series(self) -> None:
        """Judge the figures of which all seeds count together."""
        for series in self.series.values():
            if any(row.cells[name] != new for _, row, name, new in series):
                self.findings += judge_series([_figure(*cell) for cell in series])

    def groups(self) -> Iterator[tuple[Group, str]]:
        """Name all that was compared: in the table of trials each metric, of others all as one."""
        for base, row in self.places.values():
            for name in base.values if base.name == "trials" else [""]:
                yield _group(base, row), name

    @cached_property
    def has_intervals(self) -> bool:
        """Whether figures that are as they were say something about others."""
        return any(rule.tolerance.kind == "interval" for rule in self.rules)

    def _tolerance(self, figure: str, column: Column) -> Tolerance:
        if figure not in self.tolerances:
            self.tolerances[figure] = tolerance_of(figure, column, self.rules)
        return self.tolerances[figure]

    def _extra(self, base: Table, now: Table, row: Row, subject: str) -> None:
        message = f"{subject} is not in the baseline"
        self.findings.append(Finding("extra row", _group(now, row), "", base.path, 0, message))

    def _add(self, kind: Kind, base: Table, row: Row, message: str) -> None:
        self.findings.append(Finding(kind, _group(base, row), "", base.path, row.line, message))


def _fate(old: Row, new: Row | None) -> tuple[Kind | None, str]:
    """Say what became of a trial if its figures cannot be compared."""
    if new is None:
        return "missing row", "the trial is not there now"
    failed = old.cells.get("status") == "failed", new.cells.get("status") == "failed"
    if failed == (False, True):
        return "failed", f"the trial fails now: {new.cells.get('error', '')}"
    if failed == (True, False):
        return "better", f"the trial no longer fails: {old.cells.get('error', '')}"
    return None, ""


def _figure(base: Table, row: Row, name: str, new: str) -> Figure:
    return Figure(
        _group(base, row), _name(base, name, row), _where(base, row),
        _where(base, row, without="seed"), base.path, row.line, base.columns[name],
        row.cells[name], new,
    )  # fmt: skip


def _name(base: Table, column: str, row: Row) -> str:
    """Name a figure as tolerances address it."""
    if base.name == "trials":
        return column
    if base.name == "vmstat" and column == "value":
        return f"vmstat:{row.cells['counter']}"
    return f"{base.name}:{column}"


def _group(base: Table, row: Row) -> Group:
    axes = base.trial_keys[1:-1]
    return Group(base.name, row.cells["policy"], tuple((a, row.cells[a]) for a in axes))


def _subject(base: Table, row: Row) -> str:
    counter = f" {row.cells['counter']}" if "counter" in base.keys else ""
    return f"{_where(base, row)}: the row{counter}"


def _where(base: Table, row: Row, *, without: str = "") -> str:
    """Name a row by its keys."""
    texts = [_key_text(base, key, row.cells[key]) for key in base.keys if key != without]
    return ", ".join(text for text in texts if text)


def _key_text(base: Table, key: str, value: str) -> str:
    if key in base.trial_keys[1:-1]:
        return f"{key} = {value}"
    match key:
        case "seed" | "order":
            return f"{key} {value}"
        case "time_ns":
            return format_duration(int(value))
        case "counter":
            return ""
        case _:
            return value
