"""Small pictures of a run for a terminal: memory over time and at the end, outcomes, blocks.

They show the first seed, policy by policy. A run with axes has none: its table reads as curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from memsim.errors import visible
from memsim.mm import PAGE_SIZE
from memsim.units import format_duration

if TYPE_CHECKING:
    from pandas import DataFrame

    from memsim.results import Run

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH, BAR_WIDTH, STRIP_WIDTH = 40, 24, 64
MOST_ROWS = 12
"""Of one picture; what is more is counted."""
STAYED = "stayed_"
CELL, NO_MEMORY = 3, "..."
TYPE_STYLES = {"U": "red", "M": "blue", "R": "yellow", "H": "magenta", "C": "green"}


class Row(NamedTuple):
    """A line of a picture."""

    label: str
    policy: str
    picture: Text
    says: str


class Picture(NamedTuple):
    """A title, and rows below it."""

    title: str
    rows: list[Row]


def pictures(run: Run) -> list[Table | Text]:
    """Draw what a run has data for; nothing for a run with axes or without a finished trial."""
    if run.manifest["axes"] or run.timeline.empty:
        return []
    seed = run.timeline["seed"].iloc[0]
    found = chain(
        _free_memory(run.timeline.query("seed == @seed")),
        _zones(run.map.query("seed == @seed")),
        _attempts(run.high_order.query("seed == @seed")),
        _migrations(run.migration.query("seed == @seed")),
        _removals(run.hotplug.query("seed == @seed")),
    )
    drawn: list[Table | Text] = []
    for picture in found:
        drawn += [Text(f"{picture.title}, seed {seed}"), _grid(picture.rows), Text()]
    return drawn


def _grid(rows: list[Row]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    label = ""
    for row in rows[:MOST_ROWS]:
        shown = "" if row.label == label else visible(row.label)
        label = row.label
        cells = (f"  {shown}", visible(row.policy), row.says)
        name, policy, says = (Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells)
        grid.add_row(name, policy, row.picture, says)
    if len(rows) > MOST_ROWS:
        grid.add_row(Text(f"  and {len(rows) - MOST_ROWS} more"))
    return grid


def sparkline(values: Sequence[float], highest: float) -> str:
    """Draw values as blocks of eight heights; ``highest`` fills one.

    >>> sparkline([0, 50, 100], 100)
    '▁▅█'
    """
    top = len(SPARKS) - 1
    return "".join(SPARKS[round(top * v / highest) if highest else 0] for v in values)


def _thinned(values: Sequence[float]) -> list[float]:
    """Return as many values as a sparkline has room for, the first and the last among them."""
    if len(values) <= SPARK_WIDTH:
        return list(values)
    step = (len(values) - 1) / (SPARK_WIDTH - 1)
    return [values[round(i * step)] for i in range(SPARK_WIDTH)]


def _free_memory(timeline: DataFrame) -> Iterator[Picture]:
    span = format_duration(int(timeline["time_ns"].max()))
    for column, what, unit in (
        ("nr_free_pages", "free memory", PAGE_SIZE / 2**20),
        ("free_blocks_order_9_up", "free memory in blocks of order 9 and above", 2.0),
    ):
        rows = []
        for zone, of_zone in timeline.groupby("zone", sort=False):
            highest = of_zone[column].max()
            if highest == of_zone[column].min():
                continue
            for policy, mine in of_zone.groupby("policy", sort=False):
                values = mine[column].tolist()
                mib = [value * unit for value in (min(values), values[-1])]
                says = f"least {mib[0]:,.0f}, at the end {mib[1]:,.0f} MiB"
                line = Text(sparkline(_thinned(values), highest), style="cyan")
                rows.append(Row(str(zone), str(policy), line, says))
        if rows:
            yield Picture(f"{what} over {span}", rows)


def _zones(cells: DataFrame) -> Iterator[Picture]:
    rows = []
    for zone, of_zone in cells.groupby("zone", sort=False):
        for policy, mine in of_zone.groupby("policy", sort=False):
            last = str(mine["cells"].iloc[-1])
            if last:
                rows.append(Row(str(zone), str(policy), strip(last), ""))
    if rows:
        title = (
            "memory at the end (height: in use; red unmovable, blue movable, yellow reclaimable)"
        )
        yield Picture(title, rows)


def strip(cells: str) -> Text:
    """Draw cells of a map as ``docs/results.md`` has them, as many at a place as there must be."""
    each = [cells[i : i + CELL] for i in range(0, len(cells), CELL)]
    places = min(len(each), STRIP_WIDTH)
    text = Text()
    for place in range(places):
        mine = each[place * len(each) // places : (place + 1) * len(each) // places]
        there = [cell for cell in mine if cell != NO_MEMORY]
        if not there:
            text.append(" ")
            continue
        letters = [cell[0] for cell in there]
        used = sum(int(cell[1], 16) for cell in there) / len(there)
        style = TYPE_STYLES.get(max(letters, key=letters.count), "white")
        text.append(sparkline([used], 15), style)
    return text


def bar(parts: Sequence[tuple[float, str]]) -> Text:
    """Draw shares side by side, each with its style; what is missing to 1 stays dark."""
    text, drawn, reached = Text(), 0, 0.0
    for share, style in parts:
        reached += share
        cells = round(reached * BAR_WIDTH) - drawn
        text.append("█" * cells, style)
        drawn += cells
    return text.append("░" * (BAR_WIDTH - drawn), "dim")


def _attempts(high_order: DataFrame) -> Iterator[Picture]:
    rows = []
    for order, of_order in high_order.groupby("order"):
        for policy, mine in of_order.groupby("policy", sort=False):
            asked, got = int(mine["attempted"].sum()), int(mine["succeeded"].sum())
            if asked:
                says = f"{got:,} of {asked:,}"
                rows.append(Row(f"order {order}", str(policy), bar([(got / asked, "green")]), says))
    if rows:
        yield Picture("attempts that got a block", rows)


def _migrations(migration: DataFrame) -> Iterator[Picture]:
    stayed = [name for name in migration.columns if name.startswith(STAYED)]
    rows = []
    for event, of_event in migration.groupby("event", sort=False):
        for policy, mine in of_event.groupby("policy", sort=False):
            direct, swap = int(mine["moved_direct"].sum()), int(mine["moved_swap"].sum())
            left = int(mine[stayed].sum().sum())
            every = direct + swap + left
            if every:
                shares = [
                    (direct / every, "green"),
                    (swap / every, "yellow"),
                    (left / every, "red"),
                ]
                says = f"moved {direct:,}, through swap {swap:,}, stayed {left:,}"
                rows.append(Row(str(event), str(policy), bar(shares), says))
    if rows:
        yield Picture("pages that were to move", rows)


def _removals(hotplug: DataFrame) -> Iterator[Picture]:
    rows = []
    for event, of_event in hotplug.groupby("event", sort=False):
        for policy, mine in of_event.groupby("policy", sort=False):
            states = [state == "offline" for state in mine["result"]]
            strip = Text()
            for gone in states[:STRIP_WIDTH]:
                strip.append("░" if gone else "█", "green" if gone else "red")
            says = f"{sum(states):,} of {len(states):,} gone"
            rows.append(Row(str(event), str(policy), strip, says))
    if rows:
        yield Picture("memory blocks that were to go (full: stays)", rows)
