"""Make a folder with a scenario and the start state that it names."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memsim.mm import PAGE_SIZE, ZONE_NAMES
from memsim.snapshot.observed import Observed, observe
from memsim.snapshot.scenario import STATE, scenario_text
from memsim.snapshot.state import draw_state, what_is_drawn
from memsim.snapshot.taking import take_copies
from memsim.traces._files import refuse
from memsim.units import format_bytes

SCENARIO = "snapshot.yaml"


class Made(NamedTuple):
    """What has been written, and what there is to say of it."""

    scenario: Path
    state: Path
    zones: tuple[str, ...]
    missing: tuple[str, ...]
    differences: tuple[str, ...]
    drawn: tuple[str, ...]


def make_snapshot(source: Path, output: Path, force: bool = False) -> Made:
    """Copy what ``source`` says of a machine's memory, and write a scenario that begins with it.

    ``output`` appears whole or not at all. Raises InputError for copies that are truncated or make
    no machine, and if ``output`` exists, unless it is a snapshot and ``force`` is set.
    """
    if output.exists() and not force:
        raise refuse(output, "exists already", hint="--force replaces it")
    if output.exists() and not (output / SCENARIO).is_file():
        raise refuse(output, f"has no {SCENARIO}, so it is not replaced")
    live = source == Path("/")
    if not live:
        observe(source)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise refuse(output, f"cannot be written: {error.strerror}") from error
    try:
        (made / STATE).mkdir()
        missing = take_copies(source, made / STATE)
        seen = observe(made / STATE)
        drawn = draw_state(seen, np.random.default_rng(1))
        differences = (*seen.differences, *drawn.differences)
        text = scenario_text(output.resolve().name, seen, missing, differences)
        (made / SCENARIO).write_text(text, encoding="utf-8")
        made.chmod(0o755)
        if output.exists():
            shutil.rmtree(output)
        made.rename(output)
    except BaseException as error:
        shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, OSError):
            raise refuse(output, f"cannot be written: {error.strerror or error}") from error
        raise
    return Made(
        scenario=output / SCENARIO,
        state=output / STATE,
        zones=tuple(_zones(seen)),
        missing=missing,
        differences=differences,
        drawn=what_is_drawn(seen),
    )


def _zones(seen: Observed) -> list[str]:
    return [
        f"node {zone.node} {ZONE_NAMES[zone.zone_type]}: {_size(zone.managed)} managed, "
        f"{_size(zone.free_pages)} free"
        for zone in seen.zones
    ]


def _size(pages: int) -> str:
    """Write so many pages as bytes, rounded down to MiB where there are many."""
    mib = pages * PAGE_SIZE >> 20
    return f"{mib:,} MiB" if mib else format_bytes(pages * PAGE_SIZE)
