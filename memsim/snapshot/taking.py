"""Copy the files that a snapshot consists of, from this machine or from another folder."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa

from memsim.snapshot.copies import PAGES, SYSTEM, TEXTS, Copies
from memsim.snapshot.system import BLOCKS_TABLE, Block, read_system
from memsim.traces._files import open_bytes, refuse

CHUNK_BYTES = 8 << 20
COLUMNS = ("block", "node", "state", "valid_zones")


def take_copies(source: Path, target: Path) -> tuple[str, ...]:
    """Copy to the empty folder ``target``; return a sentence for each file that cannot be read.

    ``/`` is this machine. Pages come first: reading them takes longest, and what is read later
    counts more. Raises InputError for a file that is needed and cannot be read, or cannot be
    written.
    """
    copies = Copies(source)
    try:
        for name in PAGES:
            if (path := copies.readable(name)) is not None:
                _copy_pages(path, target / f"{name}.bin.zst")
        for name in reversed(TEXTS):
            if (found := copies.text(name)) is not None:
                (target / name).write_text("\n".join(found[1]), encoding="utf-8")
        _copy_system(copies, target)
    except OSError as error:
        raise refuse(target, f"cannot be written: {error.strerror or error}") from error
    return tuple(copies.missing)


def _copy_pages(path: Path, target: Path) -> None:
    with open_bytes(path) as file, pa.CompressedOutputStream(str(target), "zstd") as out:
        while piece := file.read(CHUNK_BYTES):
            out.write(piece)


def _copy_system(copies: Copies, target: Path) -> None:
    """Write what /sys says of memory blocks as one table, and of nodes as it stands there."""
    system = read_system(copies)
    (target / "block_size_bytes").write_text(f"{system.block_pages << 12:x}\n", encoding="ascii")
    if system.blocks:
        (target / BLOCKS_TABLE).write_text(_table(system.blocks), encoding="utf-8")
    for name in ("cpulist", "distance"):
        for path in copies.system(f"node/node[0-9]*/{name}"):
            folder = target / SYSTEM / "node" / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(copies.word(path) + "\n", encoding="utf-8")


def _table(blocks: tuple[Block, ...]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for block in blocks:
        state = "online" if block.online else "offline"
        rows.writerow((block.number, block.node, state, block.zones))
    return text.getvalue()
