"""What pages of files have that decides whether, and how, the kernel can move them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from memsim.kernels.layout import (
    TRAIT_BUFFERS,
    TRAIT_BUFFERS_IN_USE,
    TRAIT_LOCKED,
    TRAIT_NO_MIGRATE_OP,
    TRAIT_RAMFS,
    TRAIT_SHARED,
    TRAIT_SHMEM,
)
from memsim.mm import Gfp, Use
from memsim.schema import Pin, Request
from memsim.units import Share
from memsim.workloads import WorkloadModel
from memsim.workloads._pins import Pinned
from memsim.workloads._traits import page_traits

ON_DISK = ("dirty", "migratepage", "buffers", "buffers_in_use")
"""Knobs that only files on a disk have."""


class FilePages(WorkloadModel):
    """Knobs of a workload whose pages are those of files."""

    dirty: Share = Field(0.0, description="Share of the pages that are taken to be written to.")
    filesystem: Literal["ext4", "tmpfs", "ramfs"] = Field(
        "ext4",
        description="ext4 stands for all file systems on disks; pages of tmpfs go to swap, those "
        "of ramfs nowhere.",
    )
    migratepage: bool = Field(
        True,
        description="The file system has a migrate operation (migratepage, since 6.0 "
        "migrate_folio); without one, a dirty page must be written before it can move.",
    )
    buffers: Share = Field(
        0.0, description="Share of the pages that have buffers, which can be let go."
    )
    buffers_in_use: Share = Field(
        0.0,
        description="Share of the pages whose buffers somebody holds, as a journal does: they "
        "cannot move.",
    )
    locked: Share = Field(
        0.0, description="Share of the pages whose lock somebody holds when they are moved."
    )
    mapped: bool = Field(False, description="A process has the pages mapped (mmap).")
    shared: Share = Field(0.0, description="Share of mapped pages that several processes map.")
    pinned: Pinned | None = Field(
        None, description="Pages that are pinned once all is read (RDMA, O_DIRECT)."
    )

    @model_validator(mode="after")
    def _possible_files(self) -> FilePages:
        for knob in ON_DISK:
            if self.filesystem != "ext4" and knob in self.model_fields_set:
                raise ValueError(f'"{knob}" does not go with {self.filesystem}')
        if self.shared and not self.mapped:
            raise ValueError('"shared" goes with "mapped: true"')
        return self

    def request(self, gfp: Gfp, node: int) -> Request:
        """Make the request for a page of a file that prefers a node."""
        ramfs = self.filesystem == "ramfs"
        return Request(
            gfp if self.filesystem == "ext4" else gfp | Gfp.WRITE,
            Use.PAGE_CACHE,
            preferred=node,
            lru=True,
            mapped=self.mapped or ramfs,
            shmem=self.filesystem == "tmpfs",
            mlocked=ramfs,
        )

    def traits(self, pages: int, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        """Choose what each page has (layout.TRAIT_*)."""
        every = {"ext4": 0, "tmpfs": TRAIT_SHMEM, "ramfs": TRAIT_RAMFS}[self.filesystem]
        shares = {
            TRAIT_BUFFERS: self.buffers,
            TRAIT_BUFFERS_IN_USE: self.buffers_in_use,
            TRAIT_LOCKED: self.locked,
            TRAIT_SHARED: self.shared,
        }
        return page_traits(
            pages, shares, rng, every if self.migratepage else every | TRAIT_NO_MIGRATE_OP
        )

    def pins(self, pages: int, time_ns: int, rng: np.random.Generator) -> tuple[Pin, ...]:
        """Choose the pages that are pinned at an instant."""
        if self.pinned is None:
            return ()
        chosen = np.flatnonzero(rng.random(pages) < self.pinned.share).astype(np.int32)
        return (Pin(time_ns, chosen, self.pinned.term == "long"),)
