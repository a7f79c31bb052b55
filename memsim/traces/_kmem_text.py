"""Kmem events in text: one scanner for every tool that prints them.

Formats differ in what stands before the event's name; what follows is printed by the kernel's own
format strings (spec trace-formats 2). Most lines are taken by one regular expression over a whole
chunk; whatever it leaves goes through ``parse_line``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from memsim.mm import GFP_NAMES, MAX_PAGE_ORDER, MAX_PFN, MIGRATE_TYPES
from memsim.traces import TraceEvent, TraceTable
from memsim.traces._builder import Columns, TableBuilder, blank_columns
from memsim.traces._files import line_chunks

TIME = rb"([0-8]?\d{1,9}\.(?:\d{9}|\d{6}))"
EVENTS = {
    b"mm_page_alloc": TraceEvent.MM_PAGE_ALLOC,
    b"mm_page_free": TraceEvent.MM_PAGE_FREE,
    b"mm_page_free_direct": TraceEvent.MM_PAGE_FREE,
    b"mm_page_free_batched": TraceEvent.MM_PAGE_FREE_BATCHED,
    b"mm_pagevec_free": TraceEvent.MM_PAGE_FREE_BATCHED,
    b"mm_page_alloc_zone_locked": TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED,
    b"mm_page_pcpu_drain": TraceEvent.MM_PAGE_PCPU_DRAIN,
    b"mm_page_alloc_extfrag": TraceEvent.MM_PAGE_ALLOC_EXTFRAG,
    b"tracing_mark_write": TraceEvent.MARKER,
    b"print": TraceEvent.MARKER,
    b"mm_compaction_begin": TraceEvent.MM_COMPACTION_BEGIN,
    b"mm_migrate_pages": TraceEvent.MM_MIGRATE_PAGES,
}
UNUSED = re.compile(
    rb"mm_compaction_\w+|mm_migrate_pages_start|mm_numa_migrate_ratelimit|set_migration_pte"
    rb"|remove_migration_pte|mm_alloc_contig_migrate_range_info|mm_page_pcpu_refill\w*"
    rb"|mm_zone_lock\w*|rss_stat|kmalloc\w*|kfree|kmem_cache_\w+"
)
"""Names of the kmem, compaction and migrate groups that memsim knows and does not use."""
REQUIRED = {
    TraceEvent.MM_PAGE_ALLOC: {"order": b"order", "migratetype": b"migratetype"},
    TraceEvent.MM_PAGE_FREE: {"order": b"order"},
    TraceEvent.MM_PAGE_FREE_BATCHED: {"order": b"order"},
    TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED: {
        "order": b"order",
        "migratetype": b"migratetype",
        "percpu_refill": b"percpu_refill",
    },
    TraceEvent.MM_PAGE_PCPU_DRAIN: {"order": b"order", "migratetype": b"migratetype"},
    TraceEvent.MM_PAGE_ALLOC_EXTFRAG: {
        "order": b"alloc_order",
        "migratetype": b"alloc_migratetype",
        "fallback_order": b"fallback_order",
        "fallback_migratetype": b"fallback_migratetype",
        "change_ownership": b"change_ownership",
    },
}
FAST_BODY = (
    rb"(mm_page_(?:alloc|free|free_batched|alloc_zone_locked|pcpu_drain)): +page=\S+"
    rb" pfn=(0x[1-9a-f][0-9a-f]{0,6}|[1-9]\d{0,8}) order=(10|\d)(?: migratetype=([0-5]))?"
    rb"(?: gfp_flags=(\S+)| percpu_refill=([01]))?\r?$"
)
_FIELD = re.compile(rb"(\w+)=[ ]*([^\s,]+)")
_NUMBER = re.compile(rb"0x[0-9a-f]{1,16}|\d{1,20}")
_NULL = re.compile(rb"\(null\)|\(nil\)|NULL|<nil>|(?:0x)?0+")
_ENTRIES = re.compile(rb"# entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18}) ")
_LOST = re.compile(rb"CPU:\d+ \[LOST (\d{1,18}) EVENTS\]")
_BARE_LOST = re.compile(rb"CPU:\d+ \[LOST EVENTS\]")
_MIGRATETYPES = ("migratetype", "fallback_migratetype")
_ORDERS = ("order", "fallback_order")
_FREES = (TraceEvent.MM_PAGE_FREE, TraceEvent.MM_PAGE_FREE_BATCHED)

Row = dict[str, int]


@dataclass(frozen=True)
class TextFormat:
    """How one tool begins its lines.

    ``prefix`` matches up to the event's name; its groups are the CPU and the time. ``rules`` are
    other lines that the tool prints: (name in the account, pattern).
    """

    prefix: bytes
    rules: tuple[tuple[str, re.Pattern[bytes]], ...] = ()

    @cached_property
    def fast(self) -> re.Pattern[bytes]:
        """One match per line; the last group is the text of a line that needs a closer look."""
        return re.compile(rb"^(?:" + self.prefix + FAST_BODY + rb"|(.*)$)", re.MULTILINE)

    @cached_property
    def line(self) -> re.Pattern[bytes]:
        """Prefix, name of the event, and what follows it."""
        return re.compile(self.prefix + rb"([A-Za-z_]\w*): *(.*?)\r?$", re.MULTILINE)


def read_text(path: Path, form: TextFormat, *, numbering: str = "") -> TraceTable:
    """Read a whole text trace; ``numbering`` is old or new, by default inferred."""
    builder = TableBuilder(path)
    for chunk in line_chunks(path):
        whole, newline, tail = chunk.rpartition(b"\n")
        if newline:
            _read_chunk(builder, form, whole)
        if tail:
            _read_unfinished(builder, form, tail)
    return builder.finish(numbering=numbering)


def _read_chunk(builder: TableBuilder, form: TextFormat, text: bytes) -> None:
    """Add the rows of complete lines, given without the last newline."""
    matches: list[tuple[bytes, ...]] = form.fast.findall(text)
    columns = blank_columns(len(matches))
    at = [i for i, match in enumerate(matches) if match[2]]
    odd = _fill_fast(builder, columns, at, [matches[i] for i in at])
    lines = text.split(b"\n") if odd else []
    slow = ((i, match[8]) for i, match in enumerate(matches) if not match[2])
    for i, line in _merge(slow, ((i, lines[i]) for i in odd)):
        row = parse_line(builder, form, line, builder.total + i + 1)
        for name, value in row.items():
            columns[name][i] = value
    builder.total += len(matches)
    builder.add(columns)


def _merge(*parts: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return sorted(pair for part in parts for pair in part)


def _fill_fast(
    builder: TableBuilder, columns: Columns, at: list[int], rows: list[tuple[bytes, ...]]
) -> list[int]:
    """Fill the rows that one expression could take; return those whose fields do not fit."""
    if not rows:
        return []
    cpu, time, name, pfn, order, migratetype, gfp, refill, _ = zip(*rows, strict=True)
    event = np.array([EVENTS[n] for n in name], np.uint8)
    has_type = np.array([bool(m) for m in migratetype])
    has_gfp = np.array([bool(g) for g in gfp])
    has_refill = np.array([bool(r) for r in refill])
    fits = (
        (has_gfp == (event == TraceEvent.MM_PAGE_ALLOC))
        & (has_refill == (event == TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED))
        & (has_type == ~np.isin(event, _FREES))
    )
    rows_of: dict[bytes, int] = {
        g: builder.text_row(builder.gfp, g) for g in dict.fromkeys(gfp) if g
    }
    rows_of[b""] = -1
    index = np.array(at)
    columns["event"][index] = event
    columns["time"][index] = [_nanoseconds(t) for t in time]
    columns["cpu"][index] = [int(c) for c in cpu]
    columns["pfn"][index] = [int(p, 16) if p[1:2] == b"x" else int(p) for p in pfn]
    columns["order"][index] = [int(o) for o in order]
    columns["migratetype"][index] = [int(m or -1) for m in migratetype]
    columns["gfp"][index] = [rows_of[g] for g in gfp]
    columns["percpu_refill"][index] = [int(r or -1) for r in refill]
    odd: list[int] = index[~fits].tolist()
    for column, blank in blank_columns(len(odd)).items():
        columns[column][odd] = blank
    return odd


def _nanoseconds(stamp: bytes) -> int:
    digits = int(stamp.replace(b".", b""))
    return digits * 1000 if stamp[-7:-6] == b"." else digits


def parse_line(builder: TableBuilder, form: TextFormat, line: bytes, number: int) -> Row:
    """Read one line with care; an empty answer means that it is accounted for otherwise."""
    if rule := _rule(builder, form, line):
        builder.skipped[rule] += 1
        return {}
    found = form.line.match(line)
    if not found:
        builder.not_understood(number, line)
        return {}
    cpu, time, name, body = found.groups()
    event = EVENTS.get(name)
    if event is None:
        if UNUSED.fullmatch(name):
            builder.skipped[name.decode()] += 1
        else:
            builder.not_understood(number, line)
        return {}
    row = _parse_body(builder, event, body)
    if isinstance(row, str):
        builder.skipped[row] += 1
        return {}
    if row is None:
        builder.not_understood(number, line)
        return {}
    return {**row, "event": event, "cpu": int(cpu), "time": _nanoseconds(time)}


def _rule(builder: TableBuilder, form: TextFormat, line: bytes) -> str:
    """Name the rule by which a line is skipped, if there is one."""
    text = line.strip()
    if not text:
        return "blank"
    if text.startswith(b"#"):
        if entries := _ENTRIES.match(text + b" "):
            builder.lost_in_header += max(0, int(entries[2]) - int(entries[1]))
        return "header"
    if lost := _LOST.fullmatch(text):
        builder.lost_lines += int(lost[1])
        return "lost events"
    if _BARE_LOST.fullmatch(text):
        builder.lost_lines += 1
        return "lost events"
    return next((name for name, pattern in form.rules if pattern.fullmatch(text)), "")


def _parse_body(builder: TableBuilder, event: TraceEvent, body: bytes) -> Row | str | None:
    """Read what follows an event's name: a row, the rule that skips it, or None if malformed."""
    if event == TraceEvent.MARKER:
        text = body.removeprefix(b"tracing_mark_write: ").strip()
        return {"marker": builder.text_row(builder.markers, text)}
    if event not in REQUIRED:
        return {}
    fields: dict[bytes, Any] = dict(_FIELD.findall(body))
    row = {"pfn": _pfn(event, fields)}
    for column, key in REQUIRED[event].items():
        value = _number(fields.get(key, b""))
        if value < 0 and column not in ("percpu_refill", "change_ownership"):
            return None
        row[column] = value
    if row["pfn"] < -1 or any(row.get(m, 0) >= MIGRATE_TYPES for m in _MIGRATETYPES):
        return None
    if any(row.get(flag, 0) > 1 for flag in ("percpu_refill", "change_ownership")):
        return None
    if any(row.get(order, 0) > MAX_PAGE_ORDER for order in _ORDERS):
        return f"order above {MAX_PAGE_ORDER}"
    if row["pfn"] >= MAX_PFN:
        return "page frame above 8 TiB"
    if event == TraceEvent.MM_PAGE_ALLOC:
        if b"gfp_flags" not in fields:
            return None
        row["gfp"] = builder.text_row(builder.gfp, fields[b"gfp_flags"])
    return row


def _number(text: bytes) -> int:
    """Read decimal or 0x-hexadecimal digits; -2 if they are none."""
    if not _NUMBER.fullmatch(text):
        return -2
    return int(text, 16 if text.startswith(b"0x") else 10)


def _pfn(event: TraceEvent, fields: dict[bytes, bytes]) -> int:
    """Read the page frame; -1 for an allocation that failed, -2 if it is malformed.

    A failed allocation is recorded as frame -1 and printed as ``page=(null) pfn=0``; frame 0 with
    a page is a page.
    """
    pfn = _number(fields.get(b"pfn", b""))
    if event != TraceEvent.MM_PAGE_ALLOC:
        return pfn
    failed = pfn == (1 << 64) - 1 or (pfn == 0 and _NULL.fullmatch(fields.get(b"page", b"0")))
    return -1 if failed else pfn


def _read_unfinished(builder: TableBuilder, form: TextFormat, line: bytes) -> None:
    """Take a last line without newline only if nothing can be missing from it."""
    builder.total += 1
    trial = TableBuilder(builder.path)
    understood = parse_line(trial, form, line, builder.total) or trial.skipped
    names = {name for text in trial.gfp for name in text.decode("latin-1").split("|")}
    if not understood or not names <= GFP_NAMES.keys():
        builder.skipped["truncated last line"] += 1
        return
    columns = blank_columns(1)
    for name, value in parse_line(builder, form, line, builder.total).items():
        columns[name][0] = value
    builder.add(columns)
