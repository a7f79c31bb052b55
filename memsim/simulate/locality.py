"""Where workloads' accesses went, and what a migration costs and saves."""

from __future__ import annotations

from collections.abc import Mapping

from memsim.kernels.layout import (
    R_ACCESS_PS,
    R_ACCESS_WAIT_NS,
    R_ACCESSES,
    R_REMOTE_ACCESSES,
    R_SLOW_ACCESSES,
    REQUEST_FIELDS,
)
from memsim.memory import Memory
from memsim.schema import Accesses, Migration

COUNTED = [R_ACCESSES, R_REMOTE_ACCESSES, R_ACCESS_PS, R_SLOW_ACCESSES, R_ACCESS_WAIT_NS]
NEVER = -1
"""In place of a time after which a migration has paid back."""


class Locality:
    """The accesses of each workload so far."""

    def __init__(self, memory: Memory, requests: Mapping[str, range]) -> None:
        self._memory, self._requests = memory, requests

    def of(self, workload: str) -> Accesses:
        """Count the accesses of a workload since the start."""
        mine = self._requests[workload]
        rows = self._memory.request_rows.reshape(-1, REQUEST_FIELDS)[mine.start : mine.stop]
        return Accesses(workload, *rows[:, COUNTED].sum(axis=0).tolist())

    def all(self) -> tuple[Accesses, ...]:
        """Count the accesses of all workloads that have made any."""
        found = (self.of(workload) for workload in self._requests)
        return tuple(one for one in found if one.number)


def paid_back(
    row: Migration, before: Accesses, then: Accesses, after: Accesses, span_ns: int
) -> Migration:
    """Say what accesses cost before and after a migration, and when it has paid back.

    The counts are those at the previous migration of the workload, at this one, and ``span_ns``
    later.
    """
    mean_before, mean_after = then.mean_ps_since(before), after.mean_ps_since(then)
    saved_ps = (mean_before - mean_after) * (after.number - then.number)
    payback = NEVER
    if saved_ps > 0 and span_ns > 0:
        payback = row.migrate_model_ns * 1000 * span_ns // saved_ps
    return row._replace(
        access_ps_before=mean_before, access_ps_after=mean_after, payback_model_ns=payback
    )
