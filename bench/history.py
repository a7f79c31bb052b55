"""Carry out the tests of 2005, rewrite their tables in docs/history.md; ``make history`` does.

Every table has what was published beside what memsim finds: mean and 95 % interval over the seeds.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from bench.published import TABLES, Row, Table
from memsim.chances import free_block_chance, whole_percent
from memsim.load import find_scenario, load_scenario
from memsim.scenario import Scenario, Trial
from memsim.simulate import TrialResult, simulate
from memsim.statistics import half_width

DOC = Path(__file__).parents[1] / "docs/history.md"
SECTIONS = "t11-kravetz"
GIB = 1 << 18
"""In pages."""


@dataclass
class Found:
    """What a trial came to."""

    policy: str
    seconds: float
    got: dict[str, Counter[str]] = field(default_factory=dict)
    """By phase: blocks by zone."""
    sections: float = 0.0
    """Share of the sections that hold nothing unmovable."""
    kills: int = 0


def carried_out(trial: Trial) -> Found:
    """Simulate a trial and keep what the tables need; raises RuntimeError if it fails."""
    begin = time.perf_counter()
    result = simulate(trial, samples=0)
    if result.status != "ok":
        raise RuntimeError(f"{trial.scenario.name} {trial.policy} {trial.seed}: {result.error}")
    found = Found(trial.policy, time.perf_counter() - begin, kills=len(result.oom))
    for row in result.high_order:
        zone = row.zone.partition(" ")[2]
        found.got.setdefault(row.phase, Counter())[zone] += row.succeeded
    found.sections = _sections(result)
    return found


def _sections(result: TrialResult) -> float:
    blocks = result.metrics["hotplug.memory_blocks"]
    return (result.metrics["hotplug.removable_blocks"] or 0) / blocks if blocks else 0.0


def of_scenario(
    name: str, seeds: str | None, jobs: int, sets: Sequence[str] = ()
) -> tuple[Scenario, list[Found]]:
    """Carry out all trials of a history scenario."""
    path = find_scenario(str(DOC.parents[1] / f"scenarios/history/{name}.yaml"))
    scenario = load_scenario(path, seeds=seeds, sets=tuple(sets))
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(carried_out, scenario.trials()))
    slowest = max(one.seconds for one in found)
    kills = sum(one.kills for one in found)
    print(f"{name}: {len(found)} trials, slowest {slowest:.1f} s, OOM kills {kills}", flush=True)
    return scenario, found


def high_order_table(table: Table, scenario: Scenario, found: Sequence[Found]) -> str:
    """Write published and simulated blocks of each phase, a column for each policy."""
    policies = list(scenario.policies)
    zones = _zones(found)
    lines = [
        _line(["phase", "", *policies]),
        _line(["---", "---", *["--:"] * len(policies)]),
    ]
    simulated: set[str] = set()
    for row in table.rows:
        lines.append(_line([row.label, "published", *[_published(row, p) for p in policies]]))
        if row.phase not in simulated:
            simulated.add(row.phase)
            cells = [_simulated(row, p, found, zones) for p in policies]
            lines.append(_line([row.phase, "memsim", *cells]))
    return "\n".join([*lines, "", f"Blocks (%): {'/'.join(zones)}."])


def _zones(found: Sequence[Found]) -> list[str]:
    order = ("DMA", "DMA32", "Normal", "HighMem", "EasyRclm", "Movable")
    seen = {zone for one in found for got in one.got.values() for zone in got if got[zone]}
    return [zone for zone in order if zone in seen]


def _published(row: Row, policy: str) -> str:
    text = row.published.get(policy)
    if text is None:
        return "-"
    blocks, _, zones = text.partition(": ")
    return f"{blocks} ({whole_percent(int(blocks), row.attempts)})" + (f" {zones}" if zones else "")


def _simulated(row: Row, policy: str, found: Sequence[Found], zones: Sequence[str]) -> str:
    got = [one.got[row.phase] for one in found if one.policy == policy]
    totals = [sum(counts.values()) for counts in got]
    mean = fmean(totals)
    each = "/".join(f"{fmean(counts[zone] for counts in got):.0f}" for zone in zones)
    spread = f"{half_width(totals):.1f}" if len(totals) > 1 else "?"
    return f"{mean:.1f} ± {spread} ({whole_percent(int(mean), row.attempts)}) {each}"


def sections_table(scenario: Scenario, found: Sequence[Found]) -> str:
    """Write which share of the sections could be removed."""
    lines = [_line(["", *scenario.policies]), _line(["---", *["--:"] * len(scenario.policies)])]
    published = {"none": "almost none", "full": "83 to 92 %"}
    lines.append(_line(["published", *[published.get(p, "-") for p in scenario.policies]]))
    shares = [[100 * f.sections for f in found if f.policy == p] for p in scenario.policies]
    cells = [f"{fmean(s):.1f} ± {half_width(s):.1f} %" for s in shares]
    return "\n".join([*lines, _line(["memsim", *cells])])


def chances_table() -> str:
    """Write the chance that a block of an order is free among pages free at random."""
    machines = [(gib, mib) for mib in (8, 128) for gib in (1, 128)]
    lines = [
        _line(["order", *[f"{gib} GiB, {mib} MiB free" for gib, mib in machines]]),
        _line(["---", *["--:"] * len(machines)]),
    ]
    for order in (1, 2, 3, 4):
        chances = [free_block_chance(gib * GIB, mib << 8, order) for gib, mib in machines]
        lines.append(_line([str(order), *[f"{chance:.6f}" for chance in chances]]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def rewritten(text: str, name: str, table: str) -> str:
    """Put a table into a document between its marks; raises ValueError if it has none."""
    begin, end = f"<!-- history: {name} -->", "<!-- end -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{DOC.name} has no place for {name}")
    return pattern.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


def main() -> int:
    """Carry out what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", help="of scenarios/history; all unless given")
    parser.add_argument("--seeds", help="instead of the scenarios'")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    parser.add_argument("--set", action="append", default=[], help="change a knob: PATH=VALUE")
    parser.add_argument("--show", action="store_true", help="print tables, leave the page as it is")
    arguments = parser.parse_args()
    tables = {"chances": chances_table()}
    wanted = arguments.scenarios or [*(table.scenario for table in TABLES), SECTIONS]
    for name in wanted:
        scenario, found = of_scenario(name, arguments.seeds, arguments.jobs, arguments.set)
        known = {table.scenario: table for table in TABLES}
        if name == SECTIONS:
            tables[name] = sections_table(scenario, found)
        else:
            tables[name] = high_order_table(known[name], scenario, found)
    for name, table in tables.items():
        if arguments.show:
            print(f"\n{name}\n{table}")
        else:
            DOC.write_text(rewritten(DOC.read_text(), name, table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
