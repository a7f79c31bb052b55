"""What reclaim and swap had to do, and what that cost those who waited."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COLUMNS = (
    Column("scanned", "pages", "pages that reclaim looked at (pgscan)", better="lower"),
    Column("reclaimed", "pages", "pages that reclaim freed (pgsteal)"),
    Column("reclaimed_direct", "pages", "of these, freed by who waited for memory", better="lower"),
    Column("slab_pages", "pages", "pages of reclaimable slab that its shrinkers freed"),
    Column("swapped_out", "pages", "pages written to swap (pswpout)", better="lower"),
    Column("swapped_in", "pages", "pages read back from swap (pswpin)", better="lower"),
    Column("major_faults", "events", "faults that had to read (pgmajfault)", better="lower"),
    Column("refaults", "pages", "reclaimed pages that were needed again", better="lower"),
    Column("allocstall", "events", "requests that reclaimed for themselves", better="lower"),
    Column("oom_kills", "events", "workloads killed for want of memory", better="lower"),
    Column("stall_model_ns", "ns", "time that requests and faults waited", better="lower"),
    Column("kswapd_model_ns", "ns", "time that kswapd worked", better="lower"),
)
COUNTERS = {
    "scanned": ("pgscan_kswapd", "pgscan_direct"),
    "reclaimed": ("pgsteal_kswapd", "pgsteal_direct"),
    "refaults": ("workingset_refault_anon", "workingset_refault_file"),
    "reclaimed_direct": ("pgsteal_direct",),
    "slab_pages": ("slab_pages_freed",),
    "swapped_out": ("pswpout",),
    "swapped_in": ("pswpin",),
    "major_faults": ("pgmajfault",),
    "allocstall": ("allocstall",),
    "oom_kills": ("oom_kill",),
    "stall_model_ns": ("stall_model_ns",),
    "kswapd_model_ns": ("kswapd_model_ns",),
}


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Read the counters of reclaim and swap."""
    vmstat = record.vmstat
    return {
        column.name: sum(vmstat[counter] for counter in COUNTERS[column.name]) for column in COLUMNS
    }
