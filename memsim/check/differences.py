"""Compare two records, figure by figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from memsim.check.findings import Finding, Group, Kind, Outcome, in_order
from memsim.check.judging import Figure, judge, judge_series
from memsim.check.record import Record
from memsim.check.scenarios import declaration_findings, notes, scenario_findings
from memsim.check.tables import Key, Row, Table, by_attempt
from memsim.check.tolerance import Rule, Tolerance, tolerance_of
from memsim.schema import Column
from memsim.units import format_duration


def compare(base: Record, now: Record, rules: Sequence[Rule] = ()) -> Outcome:
    """Compare a record with its baseline; of the rules the last that fits a figure holds."""
    found = _Comparison(rules)
    found.findings += [*scenario_findings(base, now), *declaration_findings(base, now)]
    found.trials(base.tables["trials"], now.tables["trials"])
    found.table(by_attempt(base.tables["high_order"]), by_attempt(now.tables["high_order"]))
    found.table(base.tables["vmstat"], now.tables["vmstat"])
    for series in found.series.values():
        found.findings += judge_series(series)
    return Outcome(
        scenario=base.scenario.name,
        baseline=base.folder,
        trials=len(base.tables["trials"].rows),
        figures=found.figures,
        groups=tuple(found.groups),
        findings=in_order(found.findings),
        notes=tuple(notes(base, now, found=bool(found.findings))),
    )


@dataclass
class _Comparison:
    """What is found while table after table is compared."""

    rules: Sequence[Rule]
    findings: list[Finding] = field(default_factory=list)
    figures: int = 0
    groups: dict[tuple[Group, str], None] = field(default_factory=dict)
    settled: set[Key] = field(default_factory=set)
    """Trials of which nothing more is to be said: missing, new, failed or no longer so."""
    series: dict[tuple[str, Key], list[Figure]] = field(default_factory=dict)
    """Figures with the tolerance ``interval``, by name and all of their key but the seed."""
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
        for key, row in base.rows.items():
            if key[: len(base.trial_keys)] in self.settled:
                continue
            if key in now.rows:
                self._row(base, key, row, now.rows[key], now.columns)
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

    def _row(
        self, base: Table, key: Key, row: Row, new: Row, columns: Mapping[str, Column]
    ) -> None:
        differs = False
        for figure in _figures(base, row, new, columns):
            self.figures += 1
            self.groups.setdefault((figure.group, _part(figure)))
            tolerance = self._tolerance(figure)
            if tolerance.kind == "interval" and figure.numbers is not None:
                at = base.keys.index("seed")
                self.series.setdefault((figure.name, key[:at] + key[at + 1 :]), []).append(figure)
                continue
            # Which zone served is worth a word only if nothing else says it.
            if base.name == "high_order" and figure.column.dtype == "str" and differs:
                continue
            differs = differs or figure.old != figure.new
            finding = judge(figure, tolerance)
            self.findings += [finding] if finding else []

    def _tolerance(self, figure: Figure) -> Tolerance:
        if figure.name not in self.tolerances:
            found = tolerance_of(figure.name, figure.column, self.rules)
            self.tolerances[figure.name] = found
        return self.tolerances[figure.name]

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


def _figures(base: Table, row: Row, new: Row, columns: Mapping[str, Column]) -> Iterator[Figure]:
    """Pair the cells of two rows; which zone served comes last."""
    group, where = _group(base, row), _where(base, row)
    where_all = _where(base, row, without="seed")
    for name in sorted(base.values, key=lambda name: name == "zone"):
        if name in columns:
            yield Figure(
                group, _name(base, name, row), where, where_all, base.path, row.line,
                base.columns[name], row.cells[name], new.cells[name],
            )  # fmt: skip


def _name(base: Table, column: str, row: Row) -> str:
    """Name a figure as tolerances address it."""
    if base.name == "trials":
        return column
    if base.name == "vmstat" and column == "value":
        return f"vmstat:{row.cells['counter']}"
    return f"{base.name}:{column}"


def _part(figure: Figure) -> str:
    """Name the part of a group that is reported alone: a metric; other tables go as a whole."""
    return figure.name if figure.group.table == "trials" else ""


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
