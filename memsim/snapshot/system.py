"""Memory blocks, CPUs and distances of nodes, from copies of /sys/devices/system."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import NamedTuple

from memsim.mm import PAGE_SIZE, SECTION_PAGES
from memsim.snapshot.copies import Copies
from memsim.traces._files import printable, refuse
from memsim.units import parse_int_set

BLOCKS_TABLE = "memory_blocks.csv"
MAX_BLOCKS = 1 << 20
_HEX = re.compile(r"(?:0x)?([0-9a-f]{1,12})")


class Block(NamedTuple):
    """A memory block: /sys/devices/system/memory/memoryN."""

    number: int
    node: int
    """-1 where no file says it."""
    online: bool
    zones: str
    """``valid_zones``: the zone that it is in, ``none`` if it is in several."""


class System(NamedTuple):
    """What /sys says of memory blocks and nodes."""

    block_pages: int
    blocks: tuple[Block, ...]
    """By number; empty if no file says it."""
    cpu_node: tuple[int, ...]
    """The node of each CPU; empty if no file says it."""
    distances: tuple[tuple[int, ...], ...]


def read_system(copies: Copies) -> System:
    """Read what there is; raises InputError for a size or a table that makes no sense."""
    blocks = tuple(sorted(_table(copies) or _blocks(copies)))
    if not blocks:
        copies.missing.append(
            "/sys/devices/system/memory is not there: holes in a zone are not seen"
        )
    return System(_block_pages(copies), blocks, _cpus(copies), _distances(copies))


def _block_pages(copies: Copies) -> int:
    copy = copies.find("block_size_bytes")
    for path in (*copies.system("memory/block_size_bytes"), *([copy] if copy else [])):
        if text := copies.word(path):
            found = _HEX.fullmatch(text)
            size = int(found[1], 16) if found else 0
            if size % (SECTION_PAGES * PAGE_SIZE) or not size:
                message = f'found "{text}", expected a multiple of 128 MiB in hexadecimal'
                raise refuse(path, message, line=1)
            return size // PAGE_SIZE
    return SECTION_PAGES


def _table(copies: Copies) -> list[Block]:
    """Read a table with a line for each block, where a folder has one instead of files."""
    path = copies.folder / BLOCKS_TABLE
    if not path.is_file():
        return []
    blocks = []
    with path.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                online = row["state"].strip() == "online"
                block = Block(int(row["block"]), int(row["node"]), online, row["valid_zones"])
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                message = "expected block, node, state and valid_zones"
                raise refuse(path, message, line=number, hint="the copy is truncated") from error
            if not 0 <= block.number < MAX_BLOCKS:
                raise refuse(path, f"block {block.number} cannot be", line=number)
            blocks.append(block)
    return blocks


def _blocks(copies: Copies) -> Iterator[Block]:
    node_of = {
        int(path.name[6:]): int(path.parent.name[4:])
        for path in copies.system("node/node[0-9]*/memory[0-9]*")
        if path.name[6:].isdecimal() and path.parent.name[4:].isdecimal()
    }
    for folder in copies.system("memory/memory[0-9]*"):
        if not folder.name[6:].isdecimal() or int(folder.name[6:]) >= MAX_BLOCKS:
            continue
        number = int(folder.name[6:])
        online = copies.word(folder / "state") == "online"
        yield Block(number, node_of.get(number, -1), online, copies.word(folder / "valid_zones"))


def _cpus(copies: Copies) -> tuple[int, ...]:
    node_of: dict[int, int] = {}
    for path in copies.system("node/node[0-9]*/cpulist"):
        if not path.parent.name[4:].isdecimal() or not (text := copies.word(path)):
            continue
        try:
            cpus = parse_int_set(text)
        except ValueError as error:
            message = f'found "{printable(text.encode())}", expected CPUs'
            raise refuse(path, message, line=1) from error
        node_of.update(dict.fromkeys(cpus, int(path.parent.name[4:])))
    if sorted(node_of) != list(range(len(node_of))):
        return ()
    return tuple(node_of[cpu] for cpu in range(len(node_of)))


def _distances(copies: Copies) -> tuple[tuple[int, ...], ...]:
    rows: dict[int, tuple[int, ...]] = {}
    for path in copies.system("node/node[0-9]*/distance"):
        words = copies.word(path).split()
        if path.parent.name[4:].isdecimal() and all(word.isdecimal() for word in words):
            rows[int(path.parent.name[4:])] = tuple(map(int, words))
    square = sorted(rows) == list(range(len(rows))) and all(
        len(r) == len(rows) for r in rows.values()
    )
    return tuple(rows[node] for node in range(len(rows))) if square else ()
