"""Compare runs with a baseline that was kept, and say which figures got worse.

The chain is: ``record_of`` a run, ``read_baseline``, ``compare`` both into an ``Outcome``, write
that as one of the ``reports``.
"""

from __future__ import annotations

from memsim.check.baseline import baseline_for, baselines_in, read_baseline
from memsim.check.differences import compare
from memsim.check.findings import Finding, Outcome
from memsim.check.record import Record, record_of
from memsim.check.update import place_of, update

__all__ = [
    "Finding", "Outcome", "Record", "baseline_for", "baselines_in", "compare", "place_of",
    "read_baseline", "record_of", "update",
]  # fmt: skip
