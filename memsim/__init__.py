"""memsim: what will Linux's page allocator do to this machine's memory?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memsim.execute import run as run
    from memsim.results import read_results as read_results

__version__ = "0.1.0"

_PUBLIC = {"run": "memsim.execute", "read_results": "memsim.results"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for; ``load`` is a module that can be called."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name == "load":
        return import_module("memsim.load")
    raise AttributeError(f"module 'memsim' has no attribute {name!r}")
