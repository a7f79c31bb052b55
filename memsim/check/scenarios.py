"""What differs between two records beside their tables: scenario, declarations, engine."""

from __future__ import annotations

from collections.abc import Iterator

from memsim.check.findings import Finding, Group
from memsim.check.record import Record
from memsim.results.manifest import WRITTEN
from memsim.scenario import Scenario

DECLARED = ("unit", "better", "tolerance", "dtype")
NAMED = {"policies": "policy", "workloads": "workload"}


def scenario_findings(base: Record, now: Record) -> Iterator[Finding]:
    """Say which parts of the scenario are not those of the baseline."""
    if base.scenario.text_hash == now.scenario.text_hash:
        return
    parts = ", ".join(_changed_parts(base.scenario, now.scenario))
    message = f"this is not the scenario of the baseline: {parts}"
    yield Finding("scenario", Group(), "", base.folder / WRITTEN, 0, message)


def _changed_parts(base: Scenario, now: Scenario) -> list[str]:
    old, new = _parts(base), _parts(now)
    return [
        f"{part} {'is gone' if part not in new else 'is new' if part not in old else 'changed'}"
        for part in dict.fromkeys([*old, *new])
        if old.get(part) != new.get(part)
    ]


def _parts(scenario: Scenario) -> dict[str, object]:
    parts: dict[str, object] = {}
    for name, value in scenario.written.items():
        if name in NAMED:
            parts |= {f"{NAMED[name]} {own}": spec for own, spec in value.items()}
        else:
            parts[name] = value
    return parts | {f"input file {path}": digest for path, digest in scenario.inputs}


def declaration_findings(base: Record, now: Record) -> Iterator[Finding]:
    """Say which metrics are declared in another way."""
    for name in [name for name in base.columns if name in now.columns]:
        old, new = base.columns[name], now.columns[name]
        changes = [
            f"{what} {getattr(old, what)} -> {getattr(new, what)}"
            for what in DECLARED
            if getattr(old, what) != getattr(new, what)
        ]
        if changes:
            message = f"{name} is declared in another way: {', '.join(changes)}"
            yield Finding("declaration", Group("trials"), name, base.about, 0, message)


def notes(base: Record, now: Record, *, found: bool) -> Iterator[str]:
    """Say what may explain findings: another numpy, and other sources of memsim."""
    if base.numpy != now.numpy:
        yield f"the baseline is of numpy {base.numpy}, this is {now.numpy}: figures may differ"
    common = [name for name in base.engine if name in now.engine]
    changed = [name for name in common if base.engine[name] != now.engine[name]]
    if changed and found:
        policies = ", ".join(changed)
        yield f"what simulates {policies} has changed since the baseline (memsim {base.memsim})"
