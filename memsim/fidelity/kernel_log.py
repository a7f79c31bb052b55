"""What the kernel's log says of memory blocks that it was to take offline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from memsim.memory.obstacles import Reason
from memsim.traces._files import open_bytes

LOG_NAMES = ("dmesg.txt.gz", "dmesg.txt")
MARKER = re.compile(r"LAB offline (?:block (\d+)|done)")
DUMPED = re.compile(r"\bpage:\S+ refcount:(-?\d+) mapcount:(-?\d+) .*\bpfn:0x([0-9a-f]+)")
FLAGS = re.compile(r"\bflags: 0x[0-9a-f]+\(([^)]*)\)")
UNMOVABLE = "page dumped because: unmovable page"
FAILED = re.compile(r"migrating pfn ([0-9a-f]+) failed ret:(-?\d+)")
PAGE_TABLE_MAPCOUNT = -512
"""PG_table where a page's type stands, which shares its place with mapcount."""
ENOMEM = -12
MAX_LOG_BYTES = 64 << 20


@dataclass(frozen=True)
class Complaint:
    """Why the kernel says that a block stayed."""

    reason: str = ""
    unmovable_pfn: int = -1
    """The page that kept the block from being isolated."""


def read_complaints(folder: Path) -> dict[int, Complaint]:
    """Read the log of a folder, if it has one; return what stands there of each block."""
    path = next((folder / name for name in LOG_NAMES if (folder / name).is_file()), None)
    if path is None:
        return {}
    found: dict[int, Complaint] = {}
    block = -1
    part: list[str] = []
    with open_bytes(path) as file:
        for line in file.read(MAX_LOG_BYTES).decode("utf-8", "replace").splitlines():
            marker = MARKER.search(line)
            if marker is None:
                part.append(line)
                continue
            if block >= 0:
                found[block] = complaint_of(part)
            block = int(marker[1]) if marker[1] else -1
            part = []
    if block >= 0:
        found[block] = complaint_of(part)
    return found


def complaint_of(lines: list[str]) -> Complaint:
    """Say what the lines between two markers complain of; of migration, what it failed of last."""
    mapcount, pfn, flags = 0, -1, ""
    reason = ""
    for line in lines:
        if dumped := DUMPED.search(line):
            mapcount, pfn, flags = int(dumped[2]), int(dumped[3], 16), ""
        elif words := FLAGS.search(line):
            flags = words[1]
        elif UNMOVABLE in line:
            return Complaint(_kind(flags, mapcount), pfn)
        elif (failed := FAILED.search(line)) is not None:
            reason = Reason.NO_MEMORY if int(failed[2]) == ENOMEM else Reason.PINNED
        elif "page allocation failure" in line and not reason:
            reason = Reason.NO_MEMORY
    return Complaint(str(reason))


def _kind(flags: str, mapcount: int) -> str:
    words = flags.split("|")
    if "reserved" in words:
        return str(Reason.RESERVED)
    if "slab" in words:
        return str(Reason.SLAB)
    return "page table" if mapcount == PAGE_TABLE_MAPCOUNT else str(Reason.KERNEL)
