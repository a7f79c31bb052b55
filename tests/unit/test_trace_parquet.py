"""The imported form: read back exactly, the same bytes each time, nothing half-written."""

import json
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trace_samples import TRACE

from memsim.errors import InputError
from memsim.traces import read_trace
from memsim.traces.parquet import METADATA_KEY, write_parquet


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text(TRACE + "noise\n")
    return read_trace(path)


@pytest.fixture
def written(tmp_path, trace):
    path = tmp_path / "trace.parquet"
    write_parquet(trace, path)
    return path


def assert_same(one, two):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("shift", [0, 1, 999], ids=["us", "1 ns", "999 ns"])
def test_read_back_exactly(tmp_path, trace, shift):
    time = trace.time + np.arange(len(trace)) * shift
    shifted = replace(trace, time=time)
    path = tmp_path / "shifted.parquet"
    write_parquet(shifted, path)
    assert_same(read_trace(path), shifted)


def test_the_same_trace_gives_the_same_bytes(tmp_path, trace, written):
    again = tmp_path / "again.parquet"
    write_parquet(trace, again)
    assert again.read_bytes() == written.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "again.parquet", "trace.parquet", "trace.txt",
    ]  # fmt: skip


def test_what_cannot_be_written_leaves_nothing(tmp_path, trace):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_parquet(trace, tmp_path / "folder")
    with pytest.raises(InputError, match="cannot be written"):
        write_parquet(trace, tmp_path / "nowhere/trace.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "trace.txt"]


def rewritten(path, change, *, columns=None):
    table = pq.read_table(path)
    metadata = json.loads(table.schema.metadata[METADATA_KEY])
    change(metadata)
    if columns:
        for name, values in columns.items():
            at = table.column_names.index(name)
            table = table.set_column(at, name, pa.array(values, table.column(at).type))
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata)}), path)
    return path


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_other_schema_versions(written, version):
    rewritten(written, lambda metadata: metadata.update(schema=version))
    with pytest.raises(InputError, match=f"has schema version {version}, this memsim reads 1"):
        read_trace(written)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"time_unit_ns": 7}, id="unit"),
        pytest.param({"time_base_ns": 1 << 62}, id="base"),
        pytest.param({"time_base_ns": -1}, id="negative base"),
        pytest.param({"gfp_texts": ["\x1b[31m"]}, id="control characters"),
        pytest.param({"gfp_texts": 7}, id="no texts"),
        pytest.param({"accounting": {}}, id="no accounting"),
        pytest.param({"accounting": []}, id="accounting of another kind"),
        pytest.param(
            {"accounting": {"total": 10, "parsed": 9, "skipped": {}, "unknown": 0,
             "unknown_examples": [], "lost_events": 0}}, id="lines do not add up"
        ),
    ],
)  # fmt: skip
def test_damaged_metadata(written, change):
    rewritten(written, lambda metadata: metadata.update(change))
    with pytest.raises(InputError, match="damaged metadata"):
        read_trace(written)


@pytest.mark.parametrize(
    ("name", "value"),
    [("event", 99), ("pfn", -2), ("order", 11), ("migratetype", 6), ("gfp", 30), ("marker", 1),
     ("time_step", -1), ("change_ownership", 2), ("percpu_refill", -2)],
)  # fmt: skip
def test_values_out_of_range(written, name, value):
    values = pq.read_table(written).column(name).to_pylist()
    rewritten(written, lambda _: None, columns={name: [*values[:-1], value]})
    with pytest.raises(InputError, match=f"{name} out of range"):
        read_trace(written)


def test_missing_values(written):
    values = pq.read_table(written).column("cpu").to_pylist()
    rewritten(written, lambda _: None, columns={"cpu": [None, *values[1:]]})
    with pytest.raises(InputError, match="missing values"):
        read_trace(written)


def test_other_parquet_files(tmp_path, written):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputError, match="no trace written by memsim import"):
        read_trace(path)
    metadata = pq.read_table(written).schema.metadata
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), path)
    with pytest.raises(InputError, match="other columns"):
        read_trace(path)
    path.write_bytes(written.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged Parquet data"):
        read_trace(path)
