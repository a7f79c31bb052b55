"""What file systems and processes ask the page allocator for, one request for each node."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memsim.mm import GFP_COMPOSITES, Gfp, Use
from memsim.schema import AllocBatch, Request
from memsim.workloads._mempolicy import Fault, Mempolicy
from memsim.workloads._places import Places
from memsim.workloads._timeline import events


class Ask(IntEnum):
    """A kind of request, after those of processes (Fault); rows are ``kind * nodes + node``."""

    READ = len(Fault)
    """A page of a file, read."""
    WRITE = READ + 1
    """A page of a file, to be written to."""
    BUFFER = READ + 2
    """A page of a block device: metadata of a file system."""
    TEXT = READ + 3
    """A page of a program or a library, mapped."""
    INODE = READ + 4
    DENTRY = READ + 5
    KERNEL = READ + 6
    """Kernel memory that cannot be given back: slabs without a shrinker, stacks."""


def requests(where: Places) -> tuple[Request, ...]:
    """Return the requests of processes and of every kind here, for each node."""
    mine = tuple(_request(kind, node) for kind in Ask for node in where.nodes)
    return Mempolicy().requests(where.nodes) + mine


def asked(
    time: NDArray[np.int64],
    op: ArrayLike,
    kind: Ask,
    cpu: NDArray[np.int64],
    handle: ArrayLike,
    where: Places,
) -> AllocBatch:
    """Return events that ask for memory near the CPUs at these places."""
    request = kind * len(where.nodes) + where.node[cpu]
    return events(time, op, request, where.cpu[cpu], handle)


def _request(kind: Ask, node: int) -> Request:
    gfp, use = _KINDS[kind]
    return Request(gfp, use, preferred=node, lru=kind <= Ask.TEXT, mapped=kind == Ask.TEXT)


_FILE = GFP_COMPOSITES["GFP_HIGHUSER_MOVABLE"] | Gfp.COMP
_CACHE = GFP_COMPOSITES["GFP_KERNEL"] | Gfp.RECLAIMABLE
_KINDS = {
    Ask.READ: (_FILE, Use.PAGE_CACHE),
    Ask.WRITE: (_FILE | Gfp.WRITE, Use.PAGE_CACHE),
    Ask.BUFFER: (GFP_COMPOSITES["GFP_NOFS"] | Gfp.MOVABLE | Gfp.EASYRCLM, Use.BUFFERS),
    Ask.TEXT: (_FILE, Use.PAGE_CACHE),
    Ask.INODE: (_CACHE, Use.INODE),
    Ask.DENTRY: (_CACHE, Use.DENTRY),
    Ask.KERNEL: (GFP_COMPOSITES["GFP_KERNEL"], Use.SLAB),
}
