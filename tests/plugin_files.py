"""Plug-in files for tests: one that is sound of each kind, to be broken in one place."""

POLICY = '''\
"""A policy for tests."""

from typing import ClassVar

import numpy as np

from memsim.kernels.placement import OPT_BOOT_TYPE, OPT_POOL
from memsim.policies import PolicyModel, by_use, policy_tables


class Policy(PolicyModel):
    """Treat all alike."""

    PROFILES: ClassVar = ("linux-6.1",)
    TYPES: ClassVar = ("any",)

    share: int = 3

    def tables(self, kernel):
        tables = policy_tables(by_use({}), fallback=((1, 2),), options={OPT_BOOT_TYPE: 1})
        return tables
'''

WORKLOAD = '''\
"""A workload for tests."""

import numpy as np

from memsim.mm import Use, gfp_from_text
from memsim.schema import AllocBatch, Request, Stream
from memsim.workloads import WorkloadModel


class Workload(WorkloadModel):
    """Ask for ten pages, one each millisecond."""

    pages: int = 10

    def stream(self, ctx):
        request = Request(gfp_from_text("GFP_KERNEL"), Use.KERNEL)
        return Stream((request,), self.pages, self.batches())

    def batches(self):
        n = self.pages
        time, handle = np.arange(n) * 1_000_000, np.arange(n, dtype=np.int32)
        op, row, cpu = np.zeros(n, np.uint8), np.zeros(n, np.uint16), np.zeros(n, np.uint16)
        yield AllocBatch(time, op, row, cpu, handle)
'''

METRIC = '''\
"""A metric for tests."""

from memsim.schema import Column

COLUMNS = (
    Column("zones", "zones", "zones of the machine", better="higher"),
    Column("free_ratio", "1", "free pages / pages", better="higher", dtype="float64"),
)


def measure(record):
    pages = sum(zone.managed for zone in record.zones)
    return {"zones": len(record.zones), "free_ratio": record.vmstat["nr_free_pages"] / pages}
'''

TRACE = '''\
"""A trace format for tests: a time in ns and a pfn on each line after the first."""

import numpy as np

from memsim.traces import Accounting, TraceEvent, TraceTable

MARK = b"pages of a test"


def sniff(head):
    return head.startswith(MARK)


def read(path):
    rows = [line.split() for line in path.read_text().splitlines()[1:]]
    n = len(rows)
    none = np.full(n, -1, np.int8)
    return TraceTable(
        time=np.array([int(row[0]) for row in rows], np.int64),
        event=np.full(n, TraceEvent.MM_PAGE_ALLOC, np.uint8),
        cpu=np.zeros(n, np.uint16),
        pfn=np.array([int(row[1]) for row in rows], np.int64),
        order=np.zeros(n, np.int8),
        migratetype=np.zeros(n, np.int8),
        gfp=np.zeros(n, np.int16),
        fallback_order=none,
        fallback_migratetype=none,
        change_ownership=none,
        percpu_refill=none,
        marker=np.full(n, -1, np.int16),
        gfp_texts=("GFP_KERNEL",),
        marker_texts=(),
        accounting=Accounting(total=n + 1, parsed=n, skipped={"header": 1}),
    )
'''


def changed(text, old, new):
    """Return a text in which one place is another; there must be one such place."""
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


def line_of(text, part):
    """Return the number of the line that has a part."""
    return text[: text.index(part)].count("\n") + 1
