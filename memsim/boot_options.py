"""The words of command line and sysctl that shape memory.

Source: Documentation/admin-guide/kernel-parameters.txt and sysctl/vm.rst (Linux 6.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import NamedTuple

from memsim.memblock import machine_error
from memsim.mm import PAGE_SIZE

_SUFFIXES = {suffix: 1 << (10 * i) for i, suffix in enumerate("KMGTPE", start=1)}
_THP_MODES = ("always", "madvise", "never")
_WORDS = ("kernelcore", "movablecore", "movable_node", "transparent_hugepage")


class CoreSize(NamedTuple):
    """An amount of memory of the command line: pages, or per cent of all RAM."""

    pages: int = 0
    percent: int = 0


NO_SIZE = CoreSize()


@dataclass(frozen=True)
class BootOptions:
    """The words of the kernel's command line that shape memory."""

    kernelcore: CoreSize = NO_SIZE
    movablecore: CoreSize = NO_SIZE
    movable_node: bool = False
    transparent_hugepage: str = "madvise"
    cma: bool = False
    """The kernel was built with CMA: one more migratetype."""


@dataclass(frozen=True)
class VmOptions:
    """sysctl vm.*: what is not None is written after boot, so with all pages freed."""

    min_free_kbytes: int | None = None
    watermark_scale_factor: int | None = None
    lowmem_reserve_ratio: tuple[int, int, int, int] | None = None
    percpu_pagelist_high_fraction: int = 0


def _core_size(word: str, text: str) -> CoreSize:
    if word == "kernelcore" and text == "mirror":
        return NO_SIZE  # no machine here has mirrored memory; the kernel then ignores the word
    number, suffix = text, ""
    if text and not text[-1].isdecimal():
        number, suffix = text[:-1], text[-1]
    if not (number.isascii() and number.isdecimal()) or suffix.upper() not in {"", "%", *_SUFFIXES}:
        raise machine_error(
            f'{word}= expects an amount of memory, found "{text}"',
            f"write {word}=512M, {word}=4G or {word}=30%",
        )
    if suffix == "%":
        return CoreSize(percent=int(number))
    return CoreSize(pages=int(number) * _SUFFIXES.get(suffix.upper(), 1) // PAGE_SIZE)


def boot_options(cmdline: str) -> BootOptions:
    """Read the kernel's command line; the last of equal words counts.

    Raises InputError for a word that memsim does not model and for a malformed amount.
    """
    options = BootOptions()
    for word in cmdline.split():
        name, equals, value = word.partition("=")
        if name == "kernelcore":
            options = replace(options, kernelcore=_core_size(name, value))
        elif name == "movablecore":
            options = replace(options, movablecore=_core_size(name, value))
        elif word == "movable_node":
            options = replace(options, movable_node=True)
        elif name == "transparent_hugepage" and value in _THP_MODES:
            options = replace(options, transparent_hugepage=value)
        elif name in _WORDS and equals:
            raise machine_error(f'"{word}" is not a value that the kernel knows for {name}')
        else:
            near = get_close_matches(name, _WORDS, 1)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            raise machine_error(
                f'"{word}" of the command line is not modelled', f"{hint}known: {', '.join(_WORDS)}"
            )
    return options
