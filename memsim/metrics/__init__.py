"""WHAT IS MEASURED: one file per group of metrics.

A metric file defines ``COLUMNS`` (a tuple of ``memsim.schema.Column``, which become columns of
trials.csv named ``<file>.<column>``) and ``measure(record)``, which returns a value for each of
them; ``None`` means "not applicable" and is left blank in the table:

    COLUMNS = (Column("events", "1", "fall-backs to another type", better="lower"),)

    def measure(record: TrialRecord) -> dict[str, int | float | None]: ...
"""

from __future__ import annotations

from typing import Protocol

from memsim.schema import Column, TrialRecord


class MetricModule(Protocol):
    """What a metric file must define."""

    COLUMNS: tuple[Column, ...]

    def measure(self, record: TrialRecord) -> dict[str, int | float | None]:
        """Compute the value of each column from what the trial left behind."""
