"""Carry out a sweep on every executor and compare all bytes; ``make sweep`` runs this.

Each executor has a results folder of its own, so nothing is taken from another. Exits with 1 if
any file but the manifests differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from memsim.execute import EXECUTORS, Executor, How, run
from memsim.load import find_scenario, load_scenario
from memsim.scenario import Scenario


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file of a run but those of the manifest, which has times."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def carried_out(scenario: Scenario, executor: Executor, jobs: int, out: Path) -> dict[str, bytes]:
    """Carry out a scenario, print how long that took, and return what was written."""
    begin = time.perf_counter()
    done = run(scenario, out=out / executor, how=How(executor, jobs))
    took = time.perf_counter() - begin
    found = contents(done.folder)
    size = sum(map(len, found.values()))
    failed = f", {done.failed} failed" if done.failed else ""
    print(f"{executor:<10} {took:7.1f} s   {len(found)} files, {size} bytes{failed}", flush=True)
    return found


def differing(first: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Name the files that are not the same in both."""
    return [name for name in sorted({*first, *other}) if first.get(name) != other.get(name)]


def main() -> int:
    """Run and compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenario", nargs="?", default="sweep-movable")
    parser.add_argument("--seeds", help="instead of the scenario's")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time, but serially")
    arguments = parser.parse_args()
    scenario = load_scenario(find_scenario(arguments.scenario), seeds=arguments.seeds)
    print(f"{scenario.name}: {scenario.trial_count} trials, {arguments.jobs} at a time", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = {
            executor: carried_out(scenario, executor, arguments.jobs, Path(folder))
            for executor in EXECUTORS
        }
    faults = [
        f"{executor}: {name} differs from {EXECUTORS[0]}"
        for executor in EXECUTORS[1:]
        for name in differing(found[EXECUTORS[0]], found[executor])
    ]
    print("\n".join(faults) or "identical")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
