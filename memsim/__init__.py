"""memsim: what will Linux's page allocator do to this machine's memory?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memsim.execute import run as run
    from memsim.load.policy import Policy as Policy
    from memsim.results import read_results as read_results

__version__ = "0.1.0"

_PUBLIC = {
    "Policy": "memsim.load.policy",
    "read_results": "memsim.results",
    "run": "memsim.execute",
}
_CALLABLE_MODULES = ("compare", "load")


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for; some are modules that can be called."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _CALLABLE_MODULES:
        return import_module(f"memsim.{name}")
    raise AttributeError(f"module 'memsim' has no attribute {name!r}")
