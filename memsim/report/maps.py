"""The maps of memory of a report: what the page's script draws, and still pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from memsim.memory.mapping import NO_MEMORY
from memsim.mm import PAGE_SIZE
from memsim.plots._frames import NS, placed
from memsim.report.encoding import as_json, encoded, thinned
from memsim.report.grid import Grid, grid_of
from memsim.report.obstacles import Owned
from memsim.report.still import still
from memsim.results import Run
from memsim.units import format_duration

MOST_LAYERS = 12
"""Policies and points that a map shows; a page of more would be too large."""
MOST_BYTES = 9_000_000
"""Of the maps' data; instants are left out until they fit."""
MOST_MARKS = 40
"""Times of one event that are marked."""


@dataclass
class Layer:
    """The memory of one trial over time: what one panel shows."""

    label: str
    seed: int
    times: list[float]
    frames: list[list[int]]
    """By instant the number in ``palette`` of each cell of the grid."""
    palette: list[str]
    zones: list[str]
    """Of each cell, empty where there never was one."""
    marks: list[tuple[float, str]]
    blocks: dict[int, list[str]]
    """What became of memory blocks that were to go."""


@dataclass
class Maps:
    """All maps of a page that can be laid side by side."""

    data: Any = ""
    """JSON that a script element may hold."""
    stills: list[tuple[str, Any]] = field(default_factory=list)
    """A label and the picture of the last instant of each layer."""
    left_out: int = 0
    """Layers beyond the first."""
    hint: str = ""
    """What would record a map, where there is none."""


def maps_of(runs: Sequence[Run], owned: Sequence[Owned]) -> Maps:
    """Collect the maps of runs: the first seed of each policy and point."""
    tables = [(run, placed(run, run.map)) for run in runs]
    sizes = {int(size) for _, table in tables for size in table.cell_pages.unique()}
    if not sizes:
        return Maps(hint="write record: {map: true} into the scenario, or --set record.map=true")
    size = min(sizes)
    whole = [(run, table[table.cell_pages == size]) for run, table in tables]
    keys = [
        (run, table, policy, point)
        for run, table in whole
        for policy, point in table[["policy", "point"]].drop_duplicates().itertuples(index=False)
    ]
    chosen = keys[:MOST_LAYERS]
    parts = [(run, _first_seed(table, policy, point)) for run, table, policy, point in chosen]
    grid = grid_of([part for _, part in parts], size)
    several = len(runs) > 1
    layers = [_layer(run, part, grid, owned, several) for run, part in parts]
    return Maps(
        data=as_json(_packed(runs[0], grid, layers)),
        stills=[(layer.label, still(grid, layer.palette, layer.frames[-1])) for layer in layers],
        left_out=len(keys) - len(chosen),
    )


def _first_seed(table: Any, policy: str, point: str) -> Any:
    mine = table[(table.policy == policy) & (table.point == point)]
    return mine[mine.seed == mine.seed.iloc[0]]


def _layer(run: Run, part: Any, grid: Grid, owned: Sequence[Owned], several: bool) -> Layer:
    times = sorted(set(part.time_ns))
    palette, zones = [NO_MEMORY], [""] * grid.cells
    number = {NO_MEMORY: 0}
    frames = {time: [0] * grid.cells for time in times}
    for row in part.itertuples():
        frame = frames[row.time_ns]
        first = row.start_pfn // grid.cell_pages
        for n in range(len(row.cells) // 3):
            text = row.cells[3 * n : 3 * n + 3]
            if text != NO_MEMORY:
                place = grid.place[first + n]
                if text not in number:
                    number[text] = len(palette)
                    palette.append(text)
                frame[place], zones[place] = number[text], row.zone
    policy, point = part.policy.iloc[0], part.point.iloc[0]
    seed = int(part.seed.iloc[0])
    label = ", ".join(filter(None, [f"{run.folder.name} {policy}" if several else policy, point]))
    return Layer(
        label=label,
        seed=seed,
        times=[time / NS for time in times],
        frames=[frames[time] for time in times],
        palette=palette,
        zones=zones,
        marks=sorted(_marks(run, policy, point, seed)),
        blocks=_blocks(run, policy, point, seed, owned),
    )


def _marks(run: Run, policy: str, point: str, seed: int) -> Iterator[tuple[float, str]]:
    """Yield instants (s) at which something happened, and what."""
    scenario = run.scenario
    for event in scenario.events:
        times = event.times(scenario.duration)
        name = f"{event.name} ({event.do})" if event.name else event.do
        whose = f" of {event.workload}" if event.workload else ""
        if len(times) <= MOST_MARKS:
            yield from ((time / NS, name + whose) for time in times)
    for row in _of_trial(run, run.oom, policy, point, seed).itertuples():
        yield row.time_ns / NS, f"{row.victim} was killed for want of memory"


def _of_trial(run: Run, table: Any, policy: str, point: str, seed: int) -> Any:
    mine = placed(run, table)
    return mine[(mine.policy == policy) & (mine.point == point) & (mine.seed == seed)]


def _blocks(
    run: Run, policy: str, point: str, seed: int, owned: Sequence[Owned]
) -> dict[int, list[str]]:
    texts: dict[int, list[str]] = {}
    for row in _of_trial(run, run.hotplug, policy, point, seed).itertuples():
        text = f"{format_duration(int(row.time_ns))}, {row.event}: now {row.result}"
        if row.errno:
            text += f"; {row.errno}: {row.reason or 'refused'}"
        if row.page >= 0:
            text += f", stopped by pfn {row.page}"
        if row.obstacles:
            text += f"; {row.obstacles:,} pages stood in the way, each by itself"
        if row.pages_moved:
            text += f"; {row.pages_moved:,} pages moved away"
        texts.setdefault(int(row.block), []).append(text)
    for one in owned:
        if (one.run, one.policy, one.point) == (str(run.folder), policy, point):
            texts.setdefault(one.block, []).extend(one.texts)
    return texts


def _packed(run: Run, grid: Grid, layers: Sequence[Layer]) -> dict[str, Any]:
    """Put all layers into what the script reads, with fewer instants if it is too much."""
    while True:
        packed = [_packed_layer(layer) for layer in layers]
        if sum(len(layer["data"]) for layer in packed) <= MOST_BYTES or len(layers[0].times) < 5:
            break
        layers = [thinned(layer) for layer in layers]
    return {
        "cellPages": grid.cell_pages,
        "blockPages": run.scenario.machine.memory_block_size // PAGE_SIZE,
        "pageSize": PAGE_SIZE,
        "segments": grid.segments,
        "run": run.folder.parent.name,
        "layers": packed,
    }


def _packed_layer(layer: Layer) -> dict[str, Any]:
    ends = np.flatnonzero([a != b for a, b in zip(layer.zones, layer.zones[1:], strict=False)])
    edges = [0, *(ends + 1).tolist(), len(layer.zones)]
    return {
        "label": layer.label,
        "seed": layer.seed,
        "times": layer.times,
        "palette": layer.palette,
        "zones": [[layer.zones[a], b - a] for a, b in pairwise(edges) if b > a],
        "marks": layer.marks,
        "blocks": {str(block): texts for block, texts in layer.blocks.items()},
        "data": encoded(layer.frames),
    }
