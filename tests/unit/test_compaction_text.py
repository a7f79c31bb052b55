"""The compaction events of a text trace, and their imported form."""

import numpy as np
import pytest

from memsim.errors import InputError
from memsim.traces._compaction_file import read_compaction_file, write_compaction
from memsim.traces._compaction_text import CompactionEvent, read_compaction

TRACE = """\
# tracer: nop
   kcompactd0-28 [000] ..... 8.000001: mm_compaction_begin: zone_start=0x1000 migrate_pfn=0x1200 \
free_pfn=0xffe00 zone_end=0x100000, mode=sync
   kcompactd0-28 [000] ..... 8.000002: mm_compaction_isolate_migratepages: range=(0x1e00 ~ \
0x1e45) nr_scanned=57 nr_taken=32
   kswapd0-36 [000] ..... 8.000003: mm_page_free: page=(____ptrval____) pfn=0x10 order=0
   kswapd0-36 [000] ..... 8.000004: mm_compaction_suitable: node=0 zone=DMA      order=9 \
ret=skipped
   kcompactd0-28 [000] ..... 8.000005: mm_compaction_isolate_freepages: range=(0x7c00 ~ 0x7e00) \
nr_scanned=512 nr_taken=0
   kcompactd0-28 [000] ..... 8.000006: mm_compaction_migratepages: nr_migrated=16 nr_failed=3
   lab-7 [000] ..... 8.000007: mm_compaction_finished: node=0 zone=DMA32    order=-1 \
ret=partial_skipped
   lab-7 [000] ..... 8.000008: mm_compaction_end: zone_start=0x1000 migrate_pfn=0x2000 \
free_pfn=0x3a00 zone_end=0x100000, mode=sync status=success
   kcompactd0-28 [000] ..... 8.000009: mm_compaction_kcompactd_sleep: nid=0
"""
EXPECTED = [
    (CompactionEvent.BEGIN, True, (0x1200, 0xFFE00, 0x1000, 1)),
    (CompactionEvent.ISOLATE_MIGRATEPAGES, True, (0x1E00, 0x1E45, 57, 32)),
    (CompactionEvent.KSWAPD, False, (0, 0, 0, 0)),
    (CompactionEvent.KSWAPD_LAST, False, (0, 0, 0, 0)),
    (CompactionEvent.ISOLATE_FREEPAGES, True, (0x7C00, 0x7E00, 512, 0)),
    (CompactionEvent.MIGRATEPAGES, True, (0, 0, 16, 3)),
    (CompactionEvent.FINISHED, False, (0, 0, -1, 6)),
    (CompactionEvent.END, False, (0x2000, 0x3A00, 0x1000, 8)),
    (CompactionEvent.SLEEP, True, (0, 0, 0, 0)),
]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text(TRACE)
    return read_compaction(path)


def test_every_kind_of_line_is_read(table):
    rows = zip(table.event, table.daemon, map(tuple, table.fields.tolist()), strict=True)
    assert list(rows) == EXPECTED
    assert table.time.tolist() == [8_000_000_000 + 1000 * i for i in range(1, 10)]


def test_the_imported_form_is_read_back(table, tmp_path):
    path = tmp_path / "compaction.parquet"
    write_compaction(table, path)
    back = read_compaction_file(path)
    assert all(np.array_equal(a, b) for a, b in zip(table, back, strict=True))
    first = path.read_bytes()
    write_compaction(back, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("planted", ["event", "time", "bytes", "other"])
def test_what_is_no_imported_form_is_refused(table, tmp_path, planted):
    path = tmp_path / "compaction.parquet"
    if planted == "event":
        table.event[0] = 99
    if planted == "time":
        table = table._replace(time=table.time[::-1])
    write_compaction(table, path)
    if planted == "bytes":
        path.write_bytes(path.read_bytes()[:50])
    if planted == "other":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(InputError):
        read_compaction_file(path)
