"""The imported form of a trace's compaction events: ``compaction.parquet`` beside the trace."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from memsim.traces._compaction_text import MAX_EVENTS, CompactionEvent, CompactionTable
from memsim.traces._files import refuse, write_atomically

FIELDS = 4
NAMES = ("time", "event", "daemon", *(f"field_{i}" for i in range(FIELDS)))


def write_compaction(table: CompactionTable, path: Path) -> None:
    """Write the events; the same events give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    head = [table.time, table.event.astype(np.int64), table.daemon.astype(np.int64)]
    columns = dict(zip(NAMES, [*head, *table.fields.T], strict=True))
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns), buffer, compression="zstd", compression_level=15, write_statistics=False
    )
    write_atomically(path, buffer.getvalue())


def read_compaction_file(path: Path) -> CompactionTable:
    """Read back what ``write_compaction`` was given; raises InputError for anything else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        if tuple(table.column_names) != NAMES or table.num_rows > MAX_EVENTS:
            raise refuse(path, "holds no compaction events")
        rows = np.stack([table.column(name).to_numpy().astype(np.int64) for name in NAMES], axis=1)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise refuse(path, "damaged Parquet data") from error
    known = (rows[:, 1] >= 0) & (rows[:, 1] < len(CompactionEvent))
    if not known.all() or (np.diff(rows[:, 0]) < 0).any():
        raise refuse(path, "damaged data: unknown events, or times that go back")
    return CompactionTable(
        time=rows[:, 0],
        event=rows[:, 1].astype(np.uint8),
        daemon=rows[:, 2] != 0,
        fields=rows[:, 3:],
    )
