"""Carry out trials: one by one, or several at a time on one computer or many.

The results do not depend on the executor, on how many work at a time, or on the order in which
trials finish. An executor is a file here with one function, ``carry_out_all``.
"""

from __future__ import annotations

from memsim.execute.executors import EXECUTORS, Executor, How, carry_out_all
from memsim.execute.planning import Planned, plan
from memsim.execute.runner import results_of, run
from memsim.execute.task import Done
from memsim.execute.watch import Watcher

__all__ = [
    "EXECUTORS", "Done", "Executor", "How", "Planned", "Watcher", "carry_out_all", "plan",
    "results_of", "run",
]  # fmt: skip
