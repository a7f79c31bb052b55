"""The judge of hot-remove: take the same memory blocks offline and compare what came of each.

The record (``e3.jsonl``) was made on a machine whose state was read just before (``before``), under
the load that ``run.json`` and ``hog_*.json`` name.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memsim.errors import InputError, Problem
from memsim.fidelity.hot_remove_start import end_process, let_others_act, machine, read_pins
from memsim.fidelity.kernel_log import Complaint, read_complaints
from memsim.memory import Memory
from memsim.memory.hotplug import OfflineOutcome, block_range, offline
from memsim.memory.obstacles import Reason
from memsim.memory.setup import Pressure
from memsim.mm import MAX_PAGE_ORDER, PAGE_SIZE, SECTION_PAGES
from memsim.snapshot.room import with_room, zone_room
from memsim.snapshot.scan import BlockScan, Span, scan_block
from memsim.traces import _page_flags as kpf
from memsim.traces.capture import Snapshot, has_state, read_snapshot

RECORD = "e3.jsonl"
START = "before"
NS_PER_MS = 1_000_000
PAGES_WITHIN, FREE_WITHIN = 0.01, 0.02
LOADED = 0.01
"""Part of a block's pages that must move for the number to be judged: fewer are whoever's."""
AT_ONCE = (errno.EBUSY, errno.EINVAL)
"""How the kernel refuses a block before it moves any page."""
Verdict = Literal["ok", "DIFFERS", "not judged"]


@dataclass(frozen=True)
class BlockLine:
    """One line of the record, and what the kernel's log says of it."""

    block: int
    errno: int
    ms: float
    timeout_ns: int
    free_before: tuple[int, ...]
    free_after: tuple[int, ...]
    """Free pages of each node."""
    moved: int
    """pgmigrate_success."""
    ran_elsewhere: bool
    """The process that asked for it ran on another node than that which took most pages."""
    complaint: Complaint


@dataclass(frozen=True)
class BlockJudged:
    """What the kernel and memsim made of one block: its errno, positive, and pages."""

    block: int
    kernel: int
    kernel_reason: str
    kernel_page: int
    """The page that the kernel's log names, -1 if it names none."""
    kernel_moved: int
    memsim: int
    memsim_reason: str
    memsim_page: int
    memsim_moved: int
    obstacles: int
    """Pages each of which alone keeps the block, as memsim sees them."""
    scan: BlockScan
    """What the state alone, of the moment before the first block, says of it."""
    free_difference: float
    """The largest over the nodes, as part of the node's free pages."""
    outcome: Verdict
    page: Verdict
    moved: Verdict
    free: Verdict

    @property
    def static(self) -> bool:
        """No obstacle is seen in the state alone."""
        return self.scan.answer != "no"

    @property
    def static_right(self) -> bool:
        """The state alone says what the kernel did."""
        return self.static == (self.kernel == 0)

    @property
    def isolation_right(self) -> bool:
        """The state alone says whether the kernel could isolate the block; pins come later."""
        return bool(self.scan.obstacles or self.scan.span is None) == (self.kernel in AT_ONCE)

    @property
    def marked_right(self) -> bool:
        """So does it if pages that are marked as accessed are taken to be pinned."""
        return (self.static and not self.scan.marked) == (self.kernel == 0)


@dataclass(frozen=True)
class OfflineReport:
    """All blocks of one boot."""

    capture: str
    pinned: int
    blocks: tuple[BlockJudged, ...]

    @property
    def right(self) -> int:
        """How many blocks end as the kernel's did, and for the same class of reason."""
        return sum(b.outcome == "ok" for b in self.blocks)

    @property
    def exact(self) -> bool:
        """Nothing that is judged differs."""
        verdicts = [v for b in self.blocks for v in (b.outcome, b.page, b.moved, b.free)]
        return "DIFFERS" not in verdicts

    def to_json(self) -> str:
        """Return one JSON object: capture, pinned, right, what is right by the state, blocks."""
        return json.dumps({**asdict(self), "right": self.right, **self._by_state()}, indent=2)

    def _by_state(self) -> dict[str, int]:
        """Count for how many blocks the state alone is right, in three ways."""
        return {
            "static_right": sum(b.static_right for b in self.blocks),
            "isolation_right": sum(b.isolation_right for b in self.blocks),
            "marked_right": sum(b.marked_right for b in self.blocks),
        }

    def to_text(self) -> str:
        """Return a table with one line per block."""
        rows = [COLUMNS, *map(_row, self.blocks)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        static, isolation, marked = self._by_state().values()
        lines = [
            f"{self.capture}: {self.right} of {len(self.blocks)} blocks as the kernel's, outcome "
            f"and reason",
            f"the state before alone, pins not visible, says {static} outcomes, {marked} if pages "
            f"marked as accessed are pinned, and {isolation} times whether isolation fails",
        ]
        if self.pinned:
            lines.append(f"{self.pinned:,} pinned pages, which no file names, were drawn by lot")
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


COLUMNS = (
    "block", "kernel", "memsim", "", "page", "", "moved", "memsim", "", "free", "", "obstacles",
    "state alone", "marked",
)  # fmt: skip


def _row(b: BlockJudged) -> tuple[str, ...]:
    return (
        str(b.block),
        _said(b.kernel, b.kernel_reason),
        _said(b.memsim, b.memsim_reason),
        b.outcome,
        f"{b.memsim_page:#x}" if b.memsim_page >= 0 else "",
        b.page if b.page != "not judged" else "",
        f"{b.kernel_moved:,}",
        f"{b.memsim_moved:,}",
        b.moved if b.moved != "not judged" else "",
        f"{100 * b.free_difference:.1f} %",
        b.free,
        f"{b.obstacles:,}",
        "open" if b.static else "stays",
        f"{b.scan.marked:,}",
    )


def _said(code: int, reason: str) -> str:
    return "offline" if code == 0 else f"-{code} {reason}"


def has_offlining(folder: Path) -> bool:
    """Say whether a folder records blocks taken offline, and the state that they began with."""
    return (folder / RECORD).is_file() and has_state(folder / START)


def judge_offlining(folder: Path) -> OfflineReport:
    """Take the blocks of a folder offline, in the order of its record, on its machine.

    Raises InputError for a record or a state that cannot be read.
    """
    lines = read_blocks(folder)
    snapshot = read_snapshot(folder / START)
    pins = read_pins(folder)
    memory = machine(snapshot, _costs(lines), pins, lines[0].free_before)
    judged: list[BlockJudged] = []
    for line, scan in zip(lines, scan_state(snapshot, [b.block for b in lines]), strict=True):
        alike = all(b.kernel == b.memsim for b in judged)
        asker = memory.setup.cpu_node[_asks_on(memory, line)]
        held = let_others_act(memory, line.free_before, _node_of(snapshot, line.block), asker)
        judged.append(_judge(line, offline_block(memory, line), snapshot, alike, scan))
        end_process(memory, asker, held)
    return OfflineReport(folder.resolve().name, sum(lot.pages for lot in pins), tuple(judged))


def read_blocks(folder: Path) -> tuple[BlockLine, ...]:
    """Read the record; raises InputError with the line that does not fit."""
    path = folder / RECORD
    complaints = read_complaints(folder)
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            if line.get("op") == "offline":
                lines.append(_block_line(line, complaints))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            message = f"is no attempt to take a block offline: {error}"
            raise InputError([Problem(str(path), number, 0, message)]) from error
    if not lines:
        raise InputError([Problem(str(path), 0, 0, "records no block taken offline")])
    return tuple(lines)


def _block_line(line: dict[str, object], complaints: dict[int, Complaint]) -> BlockLine:
    block, code = int(str(line["blk"])), int(str(line["errno"]))
    vmstat = line["vmstat"]
    if not isinstance(vmstat, dict) or block < 0:
        raise ValueError(f"block {block}")
    return BlockLine(
        block=block,
        errno=code,
        ms=float(str(line["ms"])),
        timeout_ns=int(float(str(line["timeout_s"])) * 1000) * NS_PER_MS,
        free_before=_pages(line["free_kb_before"]),
        free_after=_pages(line["free_kb_after"]),
        moved=int(vmstat.get("pgmigrate_success", 0)),
        ran_elsewhere=vmstat.get("numa_other", 0) > vmstat.get("numa_local", 0),
        complaint=complaints.get(block, Complaint()),
    )


def _pages(kbytes: object) -> tuple[int, ...]:
    if not isinstance(kbytes, list) or not kbytes:
        raise ValueError("no free pages")
    return tuple(int(kb) * 1024 // PAGE_SIZE for kb in kbytes)


def _node_of(snapshot: Snapshot, block: int) -> int:
    """Say whose a memory block is; raises InputError where there is no memory."""
    start, _ = block_range(block)
    for zone in snapshot.state.zones:
        if zone.start_pfn <= start < zone.start_pfn + zone.spanned:
            return zone.node
    raise InputError([Problem(RECORD, 1, 0, f"block {block} is no memory of the machine")])


def _costs(lines: Sequence[BlockLine]) -> Pressure:
    """Say what moving pages costs there, from how long the kernel took for whole blocks."""
    usual = Pressure(compaction_proactiveness=0)
    whole = [line for line in lines if line.errno == 0 and line.moved > LOADED * SECTION_PAGES]
    if not whole:
        return usual
    per_page = sum(line.ms for line in whole) * NS_PER_MS / sum(line.moved for line in whole)
    slower = max(int(per_page) // usual.migrate_ns, 1)
    return replace(usual, migrate_ns=usual.migrate_ns * slower, scan_ns=usual.scan_ns * slower)


def offline_block(memory: Memory, line: BlockLine) -> OfflineOutcome:
    """Take the block of a line offline, where and for as long as the record says."""
    start, nr_pages = block_range(line.block)
    outcome = offline(memory, start, nr_pages, line.timeout_ns, cpu=_asks_on(memory, line))
    memory.advance(outcome.ended_ns)
    return outcome


def _asks_on(memory: Memory, line: BlockLine) -> int:
    """Say on which CPU the process ran that asked for the block to go."""
    start, _ = block_range(line.block)
    node = memory.setup.zones[memory.mem.zone_of[start >> MAX_PAGE_ORDER]].node
    cpus = memory.setup.cpu_node
    return next((c for c in range(len(cpus)) if (cpus[c] == node) == line.ran_elsewhere), 0)


# --- judging --------------------------------------------------------------------------------


def _judge(
    line: BlockLine, outcome: OfflineOutcome, snapshot: Snapshot, alike: bool, scan: BlockScan
) -> BlockJudged:
    """Hold one block against the kernel's; ``alike``: both have the same blocks online still."""
    kernel, ours = kernel_reason(line), memsim_reason(outcome, snapshot.pages)
    named = line.complaint.unmovable_pfn
    free = max(
        abs(mine - theirs) / max(theirs, 1)
        for mine, theirs in zip(outcome.free_after, line.free_after, strict=True)
    )
    same = line.errno == -outcome.errno and kernel == ours
    loaded = line.errno == 0 and line.moved > LOADED * SECTION_PAGES
    off = abs(outcome.pgmigrate_success - line.moved)
    return BlockJudged(
        block=line.block,
        kernel=line.errno,
        kernel_reason=kernel,
        kernel_page=named,
        kernel_moved=line.moved,
        memsim=-outcome.errno,
        memsim_reason=ours,
        memsim_page=outcome.page,
        memsim_moved=outcome.pgmigrate_success,
        obstacles=sum(o.pages for o in outcome.obstacles),
        scan=scan,
        free_difference=free,
        outcome=_verdict(same),
        page=_verdict(outcome.page == named) if named >= 0 and same else "not judged",
        moved=_verdict(off <= PAGES_WITHIN * line.moved) if loaded and same else "not judged",
        free=_verdict(free <= FREE_WITHIN) if same and alike else "not judged",
    )


def _verdict(holds: bool) -> Verdict:
    return "ok" if holds else "DIFFERS"


def kernel_reason(line: BlockLine) -> str:
    """Say of which class the kernel's reason was, from its log and its errno."""
    if line.errno == 0:
        return ""
    if line.complaint.reason:
        return line.complaint.reason
    return str(Reason.STRADDLES_ZONES) if line.errno == 22 else "unknown"


def memsim_reason(outcome: OfflineOutcome, pages: NDArray[np.uint64] | None) -> str:
    """Say of which class memsim's reason was; the flags tell the kernel's pages apart."""
    if outcome.reason in (Reason.KERNEL, Reason.SLAB) and pages is not None:
        flags = int(pages[outcome.page])
        if flags & kpf.SLAB:
            return str(Reason.SLAB)
        return "page table" if flags & kpf.PGTABLE else str(Reason.KERNEL)
    return str(outcome.reason)


def scan_state(snapshot: Snapshot, blocks: Sequence[int]) -> tuple[BlockScan, ...]:
    """Say of blocks, taken one after the other, what the state alone shows of them."""
    zones = snapshot.state.zones
    spans = [
        Span(zone.node, zone.zone_type, zone.start_pfn, zone.start_pfn + zone.spanned)
        for zone in zones
    ]
    cached = [sum(pcp.count for pcp in zone.pcp) for zone in zones]
    flags = np.zeros(0, np.uint64) if snapshot.pages is None else snapshot.pages
    rooms = [
        zone_room(span, zone.nr_free_pages + count, zone.wmark_min, zone.lowmem_reserve, flags)
        for span, count, zone in zip(spans, cached, zones, strict=True)
    ]
    scans = []
    for block in blocks:
        start, nr_pages = block_range(block)
        mine = [
            i for i, s in enumerate(spans) if s.start_pfn < start + nr_pages and start < s.end_pfn
        ]
        most = sum(cached[i] for i in mine)
        here = [spans[i] for i in mine]
        scans.append(scan_block(block, nr_pages, here, snapshot.pages, most_cached=most))
    return tuple(with_room(scans, rooms))
