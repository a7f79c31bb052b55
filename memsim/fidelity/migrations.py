"""The judge of page migration: repeat recorded system calls and compare what came of them.

Each line of the record (``cases.jsonl``) is one call on pages of a process. It is repeated on the
machine of ``before``, with as much free memory on the target node as the line says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from errno import ENOMEM
from pathlib import Path
from typing import Any, Literal

from memsim.errors import InputError, Problem
from memsim.fidelity.moving import Moved, Setting, repeat
from memsim.memory.restore import restore
from memsim.memory.setup import Pressure
from memsim.mm import PAGE_SIZE
from memsim.policies import LINUX_6_1, mobility, none
from memsim.traces.capture import Snapshot, has_state, read_snapshot

RECORD = "cases.jsonl"
START = "before"
OPS = ("move_pages", "migrate_pages", "mbind")
KINDS = ("anon", "thp", "hugetlb", "file", "shm", "shmem")
NS_PER_MS = 1_000_000
HOST_WRITE_NS = 3_000
"""Writing a page to the disk of an emulated machine."""
SWAP_BYTES = 1 << 30
"""Size of a swap device that the snapshot of the start does not know of."""
OUT_OF_ROOM, COUNTED = 0.02, 0.01
"""By how much figures may differ: pages moved until the target was full, and counters."""
JUDGED = (
    "pgmigrate_success",
    "pgmigrate_fail",
    "thp_migration_success",
    "thp_migration_fail",
    "thp_migration_split",
    "pgalloc",
    "pgfree",
    "numa_hit",
)
"""Counters that the migration determines. All others move with what else the machine does: which
CPU the caller runs on (numa_local, numa_other), what its lists keep (nr_free_pages), the daemons
(pgscan, kswapd), page tables, and the process's own faults."""
MACHINE = 64
"""What else the machine did in the time of a call: so much more or less is nobody's fault."""
WITH_OTHERS = ("pgalloc", "pgfree", "numa_hit")
"""Counters that move with everything that allocates: a case may be exact with these near."""
Verdict = Literal["exact", "within", "DIFFERS"]


@dataclass(frozen=True)
class Case:
    """One line of the record."""

    setting: Setting
    rep: str
    ret: int
    errno: int
    status: Mapping[int, int]
    """Pages by status; -9999 where the kernel wrote none."""
    where_after: Mapping[int, int]
    vmstat: Mapping[str, int]
    ms: float = 0.0


@dataclass(frozen=True)
class Compared:
    """One quantity of a case, the kernel's and memsim's."""

    name: str
    kernel: str
    memsim: str
    verdict: Verdict


@dataclass(frozen=True)
class Migrated:
    """A case and how memsim's call compares with the kernel's."""

    label: str
    rep: str
    op: str
    quantities: tuple[Compared, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all quantities; counters that others move too need not be exact."""
        if any(q.verdict == "DIFFERS" for q in self.quantities):
            return "DIFFERS"
        own = [q.verdict for q in self.quantities if q.name not in WITH_OTHERS]
        return "within" if "within" in own else "exact"


@dataclass(frozen=True)
class MigrationsReport:
    """All cases of one capture."""

    capture: str
    cases: tuple[Migrated, ...]

    @property
    def exact(self) -> bool:
        """Every case is within its bounds."""
        return all(case.verdict != "DIFFERS" for case in self.cases)

    def to_json(self) -> str:
        """Return one JSON object: capture and cases, each with its quantities and verdict."""
        cases = [{**asdict(case), "verdict": case.verdict} for case in self.cases]
        return json.dumps({"capture": self.capture, "cases": cases}, indent=2)

    def to_text(self) -> str:
        """Return the quantities of each case, and how many cases are exact."""
        lines = [
            f"{self.capture}: calls repeated from {START} (kernel, memsim); pages moved until the "
            f"target was full within {OUT_OF_ROOM:.0%}, counters within {COUNTED:.0%}"
        ]
        for case in self.cases:
            lines.append(f"{case.label} {case.rep} {case.op}: {case.verdict}")
            lines += [
                f"  {q.name:24}{q.kernel:>26}{q.memsim:>26}  {q.verdict}" for q in case.quantities
            ]
        counts = [
            f"{sum(case.verdict == verdict for case in self.cases)} {word}"
            for verdict, word in (
                ("exact", "exact"),
                ("within", "within their bounds"),
                ("DIFFERS", "different"),
            )
        ]
        lines.append(f"{len(self.cases)} cases: {', '.join(counts)}")
        return "\n".join(lines)


def has_migrations(folder: Path) -> bool:
    """Say whether a folder records migrations, and the state that they began with."""
    return (folder / RECORD).is_file() and has_state(folder / START)


def judge_migrations(folder: Path) -> MigrationsReport:
    """Repeat the migrations of a folder.

    Raises InputError for a record or a state that cannot be read.
    """
    cases = read_cases(folder / RECORD)
    snapshot = read_snapshot(folder / START)
    swap = swap_bytes(folder / START / "meminfo.txt")
    pressure = pressure_of(cases, swap)
    judged = [judge_case(case, repeat_case(snapshot, pressure, case)) for case in cases]
    return MigrationsReport(folder.resolve().name, tuple(judged))


def pressure_of(cases: Sequence[Case], swap: int) -> Pressure:
    """Say what work costs on the machine of a record, from how long its calls took.

    The CPU was emulated, and so is slow; what it wrote went to the memory of its host. ``swap`` is
    the size of its swap device in bytes, 0 where nobody knows.
    """
    usual = Pressure(swap_slots=(swap or SWAP_BYTES) // PAGE_SIZE)
    moved = sum(case.vmstat.get("pgmigrate_success", 0) for case in cases)
    took = sum(case.ms for case in cases) * NS_PER_MS
    slower = max(took / (moved * usual.migrate_ns), 1) if moved else 1
    return replace(
        usual,
        migrate_ns=int(usual.migrate_ns * slower),
        reclaim_ns=int(usual.reclaim_ns * slower),
        scan_ns=int(usual.scan_ns * slower),
        swap_write_ns=HOST_WRITE_NS,
        file_write_ns=HOST_WRITE_NS,
    )


def repeat_case(snapshot: Snapshot, pressure: Pressure, case: Case) -> Moved:
    """Carry out a case on the machine of a snapshot."""
    grouped = not snapshot.state.group_by_mobility_disabled
    tables = (mobility if grouped else none).Policy().tables(LINUX_6_1)
    if not case.setting.swap:
        pressure = replace(pressure, swap_slots=0)
    memory = restore(snapshot.state, tables, pages=snapshot.pages, pressure=pressure)
    return repeat(memory, case.setting)


def swap_bytes(path: Path) -> int:
    """Read the size of swap from a copy of /proc/meminfo; 0 without one."""
    if path.is_file():
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            if name == "SwapTotal":
                return int(rest.split()[0]) * 1024
    return 0


# --- reading -----------------------------------------------------------------------------------


def read_cases(path: Path) -> tuple[Case, ...]:
    """Read a record; raises InputError with the line that does not fit."""
    cases = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            cases.append(_case(json.loads(text)))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            message = f"is no migration: {error}" if str(error) else "is no migration"
            raise InputError([Problem(str(path), number, 0, message)]) from error
    if not cases:
        raise InputError([Problem(str(path), 0, 0, "records no migration")])
    return tuple(cases)


def _case(line: Mapping[str, Any]) -> Case:
    args = dict(word.split("=", 1) for word in line["args"].split())
    setting = Setting(
        label=args.pop("label", ""),
        args=args,
        pages=int(line["pages"]),
        pinned=int(line.get("pinned", 0)),
        where_before=_histogram(line["where_before"]),
        free_kb_before=tuple(int(kb) for kb in line["free_kb_before"]),
    )
    if setting.op not in OPS or setting.kind not in KINDS:
        raise ValueError(f"op {setting.op}, kind {setting.kind}")
    nodes = range(len(setting.free_kb_before))
    if setting.source not in nodes or setting.target not in nodes:
        raise ValueError(f"node {setting.source}, to {setting.target}")
    if not 0 <= setting.pinned <= setting.pages or setting.pages <= 0:
        raise ValueError(f"pages {setting.pages}, pinned {setting.pinned}")
    return Case(
        setting=setting,
        rep=f"rep {args.get('rep', '1')}",
        ret=int(line["ret"]),
        errno=int(line["errno"]),
        status=_histogram(line["status"]),
        where_after=_histogram(line["where_after"]),
        vmstat={name: int(value) for name, value in line.get("vmstat", {}).items()},
        ms=float(line.get("ms", 0)),
    )


def _histogram(counts: Mapping[str, Any]) -> dict[int, int]:
    return {int(key): int(count) for key, count in sorted(counts.items())}


# --- judging -----------------------------------------------------------------------------------


def judge_case(case: Case, moved: Moved) -> Migrated:
    """Hold what memsim's call came to against the kernel's."""
    outcome = moved.outcome
    full = bool((outcome.codes == -ENOMEM).any())
    quantities = [
        _same("ret", case.ret, outcome.ret),
        _same("errno", case.errno, outcome.errno),
        _same("status", _shown(case.status), _shown(moved.status)),
        _where(case.where_after, moved.where_after, case.setting.pages if full else 0),
    ]
    ours, theirs = _counters(outcome.counters), _counters(case.vmstat)
    bound = OUT_OF_ROOM if full else COUNTED
    quantities += [
        _near(name, theirs.get(name, 0), ours.get(name, 0), bound)
        for name in JUDGED
        if name in ours or name in theirs
    ]
    return Migrated(case.setting.label, case.rep, case.setting.op, tuple(quantities))


def _counters(counted: Mapping[str, int]) -> dict[str, int]:
    """Return the counters that are judged, those of all zones together."""
    judged = {name: counted[name] for name in JUDGED if name in counted}
    zones = [value for name, value in counted.items() if name.startswith("pgalloc_")]
    return {**judged, "pgalloc": sum(zones)}


def _same(name: str, kernel: object, memsim: object) -> Compared:
    return Compared(name, str(kernel), str(memsim), "exact" if kernel == memsim else "DIFFERS")


def _where(kernel: Mapping[int, int], memsim: Mapping[int, int], room_of: int) -> Compared:
    """Compare where pages are; where the target was full, within a share of all that were asked."""
    apart = [abs(kernel.get(node, 0) - memsim.get(node, 0)) for node in {*kernel, *memsim}]
    verdict: Verdict = "exact" if not any(apart) else "DIFFERS"
    if any(apart) and max(apart) <= OUT_OF_ROOM * room_of:
        verdict = "within"
    return Compared("where_after", _shown(kernel), _shown(memsim), verdict)


def _near(name: str, kernel: int, memsim: int, bound: float) -> Compared:
    verdict: Verdict = "exact" if kernel == memsim else "DIFFERS"
    if kernel != memsim and abs(kernel - memsim) <= max(bound * kernel, MACHINE):
        verdict = "within"
    return Compared(name, f"{kernel:,}", f"{memsim:,}", verdict)


def _shown(counts: Mapping[int, int]) -> str:
    return " ".join(f"{key}:{count}" for key, count in sorted(counts.items()))
