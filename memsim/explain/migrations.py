"""What became of the pages of one migration: why some stayed, and the steps of one of them."""

from __future__ import annotations

import errno as names_of
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from memsim.errors import InputError, Problem
from memsim.execute.runner import where
from memsim.memory.migrate_call import Attempt, MigrateOutcome
from memsim.memory.migrating_2005 import Fate, Migrate2005Outcome
from memsim.mm import WhyStayed
from memsim.scenario import Trial
from memsim.schema import Migration
from memsim.simulate.movements import NOT_TRIED, Moved
from memsim.simulate.retrace import owners, retrace
from memsim.units import format_duration

SENTENCES = {
    WhyStayed.PINNED: "hold references that no page table explains",
    WhyStayed.LOCKED: "were locked by somebody else, or by mlock",
    WhyStayed.WRITEBACK: "were being written",
    WhyStayed.BUFFERS: "have buffers that cannot be let go",
    WhyStayed.NO_OPERATION: "belong to a file system that cannot migrate them",
    WhyStayed.SHARED: "are mapped by other processes too (move_all: true moves them)",
    WhyStayed.NOT_ON_LRU: "were on no LRU list",
    WhyStayed.NO_MEMORY: "found no free page on their new node",
    WhyStayed.NO_SWAP: "found no free swap slot",
    WhyStayed.NOT_TRIED: "were not tried: the call had ended",
}


@dataclass(frozen=True)
class Stayed:
    """Pages that stayed for the same reason and were asked for alike."""

    why: str
    use: str
    pages: int
    places: tuple[int, ...]
    """Some of them, by their place among the pages that were to move: for --page."""


@dataclass(frozen=True)
class PageView:
    """One page's way."""

    place: int
    old_pfn: int
    new_pfn: int
    """-1: it is where it was, or not in memory."""
    fate: str
    steps: tuple[tuple[int, str], ...]
    """When (ns since the call began; -1 where that is not known), and what."""


@dataclass(frozen=True)
class MigrationView:
    """All there is to say about one migration."""

    trial: str
    number: int
    row: Migration
    stayed: tuple[Stayed, ...]
    page: PageView | None
    left_ns: int
    """From the migration to the end of the scenario."""

    @property
    def cost_sensitive(self) -> bool:
        """Half or twice the costs decide whether it pays back before the end."""
        payback = self.row.payback_model_ns
        return payback >= 0 and payback <= 2 * self.left_ns and 2 * payback > self.left_ns


SHOWN = 8


def explain_migration(trial: Trial, number: int, page: int | None = None) -> MigrationView:
    """Carry out a trial and say what became of the pages of its ``number``-th migration (from 1).

    Raises InputError if there is no such migration or page, TrialError for a trial that cannot be
    carried out.
    """
    found = retrace(trial, watch=(number - 1, -1 if page is None else page)).moved
    if number > len(found):
        what = f"{len(found)} migrations" if len(found) != 1 else "1 migration"
        message = f"this trial has {what} ({where(trial)})"
        raise InputError([Problem(f"--migration {number}", 0, 0, message)])
    moved = found[number - 1]
    if page is not None and page >= len(moved.handles):
        hint = f"--page 0..{len(moved.handles) - 1}" if len(moved.handles) else ""
        message = f"{len(moved.handles)} pages were to move"
        raise InputError([Problem(f"--page {page}", 0, 0, message, hint)])
    view = None if page is None else _page(moved, page)
    left_ns = trial.scenario.duration - moved.row.time_ns
    return MigrationView(where(trial), number, moved.row, _stayed(trial, moved), view, left_ns)


def _stayed(trial: Trial, moved: Moved) -> tuple[Stayed, ...]:
    left = np.flatnonzero(moved.why >= 0)
    known = owners(trial, moved.handles[left].tolist(), moved.row.time_ns) if len(left) else {}
    groups: dict[tuple[WhyStayed, str], list[int]] = {}
    for place in left.tolist():
        use = known[int(moved.handles[place])].use
        groups.setdefault((WhyStayed(moved.why[place]), use), []).append(place)
    rows = [
        Stayed(why.name.lower(), use, len(places), tuple(places[:SHOWN]))
        for (why, use), places in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.pages))


def _page(moved: Moved, place: int) -> PageView:
    done = moved.outcome
    if isinstance(done, Migrate2005Outcome):
        return PageView(
            place,
            int(done.old_pfn[place]),
            int(done.new_pfn[place]),
            Fate(done.fate[place]).label.replace("_", " "),
            tuple((s.begins_model_ns, f"pass {s.pass_}: {s.name}") for s in done.steps),
        )
    code = int(done.codes[place])
    return PageView(
        place,
        int(done.sources[place]),
        int(done.targets[place]) if code == 0 else -1,
        _fate(moved, place, code),
        tuple(_steps(done, place, code)),
    )


def _fate(moved: Moved, place: int, code: int) -> str:
    if code == 0:
        return "moved"
    return WhyStayed(moved.why[place]).name.lower().replace("_", " ")


def _steps(done: MigrateOutcome, place: int, code: int) -> Iterator[tuple[int, str]]:
    """Say what 6.1 did with the page that was watched."""
    assert done.watched is not None
    began, attempts, ended = done.watched
    tries = int(done.tries[place])
    yield began, "isolated: taken off its LRU list"
    if code == NOT_TRIED:
        yield -1, "not tried: the call ended before its turn"
    for number, attempt in enumerate(attempts, 1):
        yield attempt.ended_ns, f"pass {attempt.pass_}: {_came_to(attempt)}"
        if number == -tries:
            yield attempt.ended_ns, "split: its pages go on one by one"
    if code == 0 and (not attempts or attempts[-1].code):
        yield -1, "freed by whoever held it"
    if code:
        yield ended, "put back on its LRU list"


def _came_to(attempt: Attempt) -> str:
    if attempt.code == 0:
        return "new page allocated, moved: unmapped, copied, mapped again"
    what = "new page allocated" if attempt.target >= 0 else "no new page"
    return f"{what}, {names_of.errorcode[-attempt.code]}"


def as_json(found: MigrationView) -> str:
    """Write everything as one JSON object; times in ns, sizes in pages."""
    data = asdict(found)
    row = found.row._asdict()
    row["stayed"] = {why.name.lower(): n for why, n in zip(WhyStayed, row["stayed"], strict=True)}
    return json.dumps({**data, "row": row, "cost_sensitive": found.cost_sensitive}, indent=2)


def as_markdown(found: MigrationView) -> str:
    """Write what moved, what stayed and why, what it cost, and the steps of a page."""
    lines = [f"# Migration {found.number}: {found.trial}", "", *_summary(found), ""]
    if found.stayed:
        lines += ["## What stayed", ""]
        for group in found.stayed:
            what = SENTENCES[WhyStayed[group.why.upper()]]
            some = ", ".join(map(str, group.places))
            lines.append(f"- {group.pages:,} of {group.use} {what} (--page {some})")
        lines.append("")
    if found.page is not None:
        lines += [*_page_lines(found.page)]
    return "\n".join(lines).rstrip()


def _summary(found: MigrationView) -> Iterator[str]:
    row = found.row
    at = format_duration(row.time_ns)
    yield f"{row.event} ({row.mode}) of {row.workload} at {at}: {row.attempted:,} pages to move."
    error = f" ({row.errno})" if row.errno else ""
    yield (
        f"{row.moved_direct:,} moved directly, {row.moved_swap:,} by way of swap, "
        f"{sum(row.stayed):,} stayed, after at most {row.passes} passes; the call returned "
        f"{row.result}{error} and took {row.migrate_model_ns / 1e6:,.3f} ms."
    )
    if row.access_ps_before and row.access_ps_after:
        before, after = row.access_ps_before / 1000, row.access_ps_after / 1000
        yield f"An access cost {before:.1f} ns before and {after:.1f} ns after: {_paid(found)}."


def _paid(found: MigrationView) -> str:
    payback = found.row.payback_model_ns
    if payback < 0:
        return "it never pays back at that rate"
    in_time = payback <= found.left_ns
    verb = "it has paid back" if in_time else "at that rate it would have paid back"
    text = f"{verb} after {payback / 1e9:,.3f} s"
    if found.cost_sensitive:
        other = "twice as high, not" if in_time else "half as high, already"
        text += f" (cost-sensitive: were costs {other} before the end)"
    return text


def _page_lines(page: PageView) -> Iterator[str]:
    went = f", now {page.new_pfn:#x}" if page.new_pfn >= 0 else ""
    yield f"## Page {page.place}: pfn {page.old_pfn:#x}{went}: {page.fate}"
    yield ""
    for number, (instant, text) in enumerate(page.steps, 1):
        when = f" at {instant / 1000:,.1f} us" if instant >= 0 else ""
        yield f"{number}. {text}{when}"
