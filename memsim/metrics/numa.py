"""Where requests were served, counted once per request (NUMA statistics of /proc/vmstat)."""

from __future__ import annotations

from memsim.schema import Column, TrialRecord

COUNTERS = ("hit", "miss", "foreign", "local", "other")

COLUMNS = (
    Column("hit", "requests", "numa_hit: served by the preferred node", better="higher"),
    Column("miss", "requests", "numa_miss: served by a node, another was preferred", "lower"),
    Column("foreign", "requests", "numa_foreign: preferred a node, another served", "lower"),
    Column("local", "requests", "numa_local: served by the node of the CPU", better="higher"),
    Column("other", "requests", "numa_other: served by another node than the CPU's", "lower"),
    Column("hit_ratio", "1", "hit / (hit + miss)", better="higher", dtype="float64"),
    Column("accesses", "1", "accesses of workloads to memory that they have"),
    Column(
        "remote_ratio",
        "1",
        "part of them to memory of another node than the CPU's",
        better="lower",
        dtype="float64",
    ),
    Column(
        "fast_ratio",
        "1",
        "part of them to memory that is not slower than that of the CPU's node",
        better="higher",
        dtype="float64",
    ),
    Column("access_ns", "ns", "their mean cost, by distance", better="lower", dtype="float64"),
    Column(
        "wait_ns",
        "ns",
        "how long they waited on average for their pages, as those in swap have to be read",
        better="lower",
        dtype="float64",
    ),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Read the NUMA counters, all zones together."""
    counts = {name: record.vmstat[f"numa_{name}"] for name in COUNTERS}
    served = counts["hit"] + counts["miss"]
    accesses = sum(one.number for one in record.accesses)
    remote = sum(one.remote for one in record.accesses)
    slow = sum(one.slow for one in record.accesses)
    cost = sum(one.cost_ps for one in record.accesses)
    waited = sum(one.waited_ns for one in record.accesses)
    return {
        **counts,
        "hit_ratio": counts["hit"] / served if served else None,
        "accesses": accesses or None,
        "remote_ratio": remote / accesses if accesses else None,
        "fast_ratio": 1 - slow / accesses if accesses and record.slower_nodes else None,
        "access_ns": cost / 1000 / accesses if accesses else None,
        "wait_ns": waited / accesses if accesses else None,
    }
