"""Measure memsim beside a C program of the same algorithm; ``make bench`` runs this.

Writes results/bench/latest.csv. ``--quick`` measures nothing: it runs small streams through both
programs and fails if they differ.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import bare_zone, bulk, executors, full_path, migration, pressure, scale, start_up
from bench.streams import Stream, fill_and_empty, halving_mix
from memsim.execute import EXECUTORS

OUT = Path(__file__).parents[1] / "results" / "bench" / "latest.csv"
MIB, GIB = 1 << 20, 1 << 30
ZONE_64_GIB, ZONE_1_TIB = 1 << 24, 1 << 28
ZONE_CASES: dict[str, tuple[int, Callable[[], Stream]]] = {
    "bare zone W1: fill and empty, 64 GiB": (ZONE_64_GIB, lambda: fill_and_empty(10_000_000)),
    "bare zone W2: mix, 64 GiB": (ZONE_64_GIB, lambda: halving_mix(ZONE_64_GIB, 10_000_000)),
    "bare zone W3: mix, 1 TiB": (ZONE_1_TIB, lambda: halving_mix(ZONE_1_TIB, 10_000_000)),
}
QUICK_PAGES = 1 << 15


class Result(NamedTuple):
    """One row of the table."""

    case: str
    value: float
    unit: str
    reference: float | None = None
    """In the same run the C program's value or that of policy ``none``; else the goal."""
    typical: float | None = None
    """The median of the repetitions, where the value is the best of them."""

    @property
    def ratio(self) -> float | None:
        """Value by reference."""
        return self.value / self.reference if self.reference else None


def best(case: str, values: Iterable[float], unit: str, reference: float | None = None) -> Result:
    """Give the least of several times: whatever else the computer does only adds to a time."""
    times = list(values)
    return Result(case, min(times), unit, reference, median(times))


def measure(repetitions: int) -> Iterator[Result]:
    """Measure everything, case after case."""
    yield from starting()
    yield from machines()
    yield from events(repetitions)
    yield from under_pressure(repetitions)
    yield from policies(repetitions)
    for case, (pages, stream) in ZONE_CASES.items():
        ours, theirs = bare_zone.compare(pages, stream(), repetitions)
        yield best(case, ours, "ns/event", min(theirs))
    times = bulk.compare(ZONE_64_GIB, 1 << 22, 2 * repetitions)
    yield best("bare zone, take in bulk", (t.take for t in times), "ns/page", 1.0)
    yield best("bare zone, free_range", (t.free for t in times), "ns/page", 1.0)


def side_by_side(repetitions: int) -> Iterator[Result]:
    """Measure executors: what each adds to a trial, and what a second worker brings.

    Needs two cores. One worker and two take turns, for the computer's speed changes by the minute;
    of the turns' ratios the median is taken.
    """
    for executor in EXECUTORS:
        took = executors.overhead(executor, 40 * repetitions)
        yield Result(f"{executor}: until the first trial", took.start, "s")
        yield Result(f"{executor}: added to each trial", 1e3 * took.overhead, "ms")
    for executor in executors.SIDE_BY_SIDE:
        ratios = [
            executors.trials_per_second(executor, 2, 10) / alone
            for alone in (executors.trials_per_second("serial", 1, 5) for _ in range(repetitions))
        ]
        yield Result(f"{executor}: two workers beside one", median(ratios), "times as fast")


def starting() -> Iterator[Result]:
    """Measure what passes before the first event."""
    yield best("memsim --help", (start_up.help_text() for _ in range(7)), "s", 0.2)
    yield Result("cold: compile all kernels", start_up.cold_compile(), "s")
    start_up.whole_run()
    for case, measured, goal in (
        ("warm start: a first trial", start_up.warm_start, 1.0),
        ("warm: memsim run tiny", start_up.whole_run, None),
    ):
        yield best(case, (measured() for _ in range(7)), "s", goal)


def machines() -> Iterator[Result]:
    """Measure what a machine costs, empty and in use."""
    empty = [scale.empty_machine(4096 * GIB) for _ in range(5)]
    yield best("empty machine, 4 TiB: time", (1e3 * s for s, _ in empty), "ms", 50.0)
    yield Result("empty machine, 4 TiB: memory", median(n for _, n in empty) / MIB, "MiB", 40.0)
    touched = full_path.bytes_per_touched_page(64 * GIB, 1 << 23)
    yield Result("memory per touched page", touched, "bytes", 14.0)


def events(repetitions: int) -> Iterator[Result]:
    """Measure the full path, and how it grows with machine and work."""
    for size, goal in ((4, 15.0), (64, 10.0)):
        took = full_path.ns_per_event(size * GIB, 5_000_000, repetitions)
        yield best(f"full path, {size} GiB", took, "ns/event", 1e3 / goal)
    touched, freed = full_path.runs(4 * GIB, 600_000, repetitions)
    yield best("full path, one CPU touches page after page", touched, "ns/page")
    yield best("full path, one CPU frees page after page", freed, "ns/page")
    sizes = scale.by_size(scale.SIZES)
    for size, ns in zip(scale.SIZES, sizes, strict=True):
        yield Result(f"full path, by machine: {size // GIB} GiB", ns, "ns/event")
    yield Result("ns per event ~ machine size ^", scale.exponent(scale.SIZES, sizes), "")
    seconds = scale.by_count(scale.COUNTS)
    for count, took in zip(scale.COUNTS, seconds, strict=True):
        yield Result(f"full path, by events: {count}", took, "s")
    yield Result("seconds ~ number of events ^", scale.exponent(scale.COUNTS, seconds), "")
    whole = scale.terabyte()
    yield Result("memsim run, 1 TiB, 10^8 events: time", whole.seconds, "s")
    yield Result("memsim run, 1 TiB, 10^8 events: memory", whole.peak_bytes / MIB, "MiB")


def under_pressure(repetitions: int) -> Iterator[Result]:
    """Measure the full path where memory does not suffice, and its two large parts."""
    took = pressure.ns_per_event(GIB, 2_000_000, repetitions)
    yield best("full path under pressure, 1 GiB", took, "ns/event", 1e3 / 5)
    for name, done, costs in (
        ("reclaim", "freed", pressure.reclaim(GIB // 4, repetitions)),
        ("compaction", "moved", pressure.compaction(GIB, repetitions)),
    ):
        yield best(f"{name}, per page scanned", (cost.scanned for cost in costs), "ns/page")
        yield best(f"{name}, per page {done}", (cost.done for cost in costs), "ns/page")
    for code in migration.CODES:
        bare = migration.bare_moves(migration.PAGES)
        moves = migration.per_page(code, migration.PAGES, 1)
        for order, reference in zip(migration.GOALS, bare, strict=True):
            costs = (getattr(cost, order) for cost in moves)
            yield best(f"migration, {code}, {order}", costs, "ns/page", reference)


def policies(repetitions: int) -> Iterator[Result]:
    """Measure each policy on one stream; the reference is ``none`` on the same kernel."""
    for profile, names in full_path.policies_by_profile():
        took = full_path.by_policy(profile, names, 4 * GIB, 2_000_000, 2 * repetitions)
        none = min(took["none"])
        for name, ns in took.items():
            yield best(f"{profile}, {name}, 4 GiB", ns, "ns/event", none)


def check() -> None:
    """Run small streams through memsim and the C program, and in bulk; they must agree."""
    for stream in (fill_and_empty(20_000), halving_mix(QUICK_PAGES, 100_000)):
        bare_zone.compare(QUICK_PAGES, stream, 1)
    bulk.compare(4 * bulk.RANGE, 2 * bulk.RANGE, 1)


def write(results: list[Result]) -> None:
    """Write the table of results, whole or not at all."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    fresh = OUT.with_suffix(".new")
    with fresh.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "value", "unit", "reference", "ratio", "median"))
        for r in results:
            writer.writerow(
                (
                    r.case,
                    _text(r.value),
                    r.unit,
                    _text(r.reference),
                    _text(r.ratio),
                    _text(r.typical),
                )
            )
    fresh.replace(OUT)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def show(results: list[Result]) -> None:
    """Print the table of results."""
    table = Table("case", "best", "unit", "C program, none or goal", "ratio", "median")
    for column in (1, 3, 4, 5):
        table.columns[column].justify = "right"
    for r in results:
        numbers = (_text(r.reference), _text(r.ratio), _text(r.typical))
        table.add_row(r.case, _text(r.value), r.unit, *numbers)
    Console().print(table)


def _on_one_core(arguments: argparse.Namespace) -> Iterator[Result]:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    yield from measure(arguments.repetitions)


def main() -> None:
    """Measure, or check only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="compare small runs, measure nothing")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.quick:
        check()
        print("bare zone: memsim, one by one and in bulk, and the C program agree")
        return
    results = []
    for result in chain(side_by_side(arguments.repetitions), _on_one_core(arguments)):
        print(f"{result.case}: {_text(result.value)} {result.unit}", flush=True)
        results.append(result)
    write(results)
    show(results)
    print(f"Wrote {OUT}")


if __name__ == "__main__":
    main()
