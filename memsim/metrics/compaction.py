"""What compaction had to do, and what came of it."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COLUMNS = (
    Column("stalls", "events", "requests that compacted for themselves", better="lower"),
    Column("success_ratio", "1", "of these, got their block", better="higher", dtype="float64"),
    Column("daemon_wakes", "events", "rounds of kcompactd", better="lower"),
    Column(
        "migrated",
        "pages",
        "pages it moved (part of pgmigrate_success)",
        better="lower",
    ),
    Column(
        "not_migrated",
        "pages",
        "pages it could not move (part of pgmigrate_fail)",
        better="lower",
    ),
    Column("scanned", "pages", "pages that both scanners looked at", better="lower"),
    Column("kcompactd_model_ns", "ns", "time that kcompactd worked", better="lower"),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Read the counters of compaction; a ratio without stalls is blank."""
    vmstat = record.vmstat
    stalls = vmstat["compact_stall"]
    return {
        "stalls": stalls,
        "success_ratio": vmstat["compact_success"] / stalls if stalls else None,
        "daemon_wakes": vmstat["compact_daemon_wake"],
        "migrated": vmstat["compact_migrated"],
        "not_migrated": vmstat["compact_not_migrated"],
        "scanned": vmstat["compact_migrate_scanned"] + vmstat["compact_free_scanned"],
        "kcompactd_model_ns": vmstat["kcompactd_model_ns"],
    }
