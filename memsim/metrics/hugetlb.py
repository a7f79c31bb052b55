"""The pool of huge pages at the end (HugePages_Total, _Free and _Rsvd of /proc/meminfo)."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COLUMNS = (
    Column("total", "huge pages", "huge pages in the pool"),
    Column("free", "huge pages", "of these, that nobody uses"),
    Column("reserved", "huge pages", "of these, that somebody has mapped and not used yet"),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Count the pool's huge pages; blank for a machine without a pool."""
    pool = record.huge_pages
    if pool is None:
        return dict.fromkeys(("total", "free", "reserved"))
    return {"total": sum(pool.total), "free": sum(pool.free), "reserved": pool.reserved}
