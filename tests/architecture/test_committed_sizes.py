"""Committed data is small, and each capture says where it comes from."""

from pathlib import Path

from architecture.source_tree import ROOT

MAX_BYTES = 1_000_000
PLACES = ("tests/data", "scenarios")
CAPTURE_SUFFIXES = {".parquet", ".gz"}


def data_files(root: Path) -> list[Path]:
    """All files of test data and shipped scenarios."""
    return sorted(p for place in PLACES for p in (root / place).rglob("*") if p.is_file())


def size_faults(root: Path) -> list[str]:
    """Data files above the limit."""
    sizes = {path.relative_to(root): path.stat().st_size for path in data_files(root)}
    return [f"{path}: {size:,} bytes" for path, size in sizes.items() if size > MAX_BYTES]


def source_faults(root: Path) -> list[str]:
    """Captures without a SOURCE file that says something, in their folder or the one above."""
    captures = [p for p in data_files(root) if p.suffix in CAPTURE_SUFFIXES]
    return [str(path.relative_to(root)) for path in captures if not _has_source(path)]


def _has_source(path: Path) -> bool:
    sources = [path.parent / "SOURCE", path.parent.parent / "SOURCE"]
    return any(source.is_file() and source.read_text().strip() for source in sources)


def test_data_is_small():
    assert data_files(ROOT)
    assert size_faults(ROOT) == []


def test_captures_have_a_source():
    assert source_faults(ROOT) == []


def test_large_data_is_found(tmp_path):
    (tmp_path / "tests/data").mkdir(parents=True)
    (tmp_path / "tests/data/fits").write_bytes(bytes(MAX_BYTES))
    (tmp_path / "tests/data/large").write_bytes(bytes(MAX_BYTES + 1))
    assert size_faults(tmp_path) == ["tests/data/large: 1,000,001 bytes"]


def test_a_capture_without_a_source_is_found(tmp_path):
    start = tmp_path / "scenarios/frag/start"
    start.mkdir(parents=True)
    (start / "state.txt.gz").write_bytes(b"")
    assert source_faults(tmp_path) == ["scenarios/frag/start/state.txt.gz"]
    source = start.parent / "SOURCE"
    source.write_text("\n")
    assert source_faults(tmp_path) == ["scenarios/frag/start/state.txt.gz"]
    source.write_text("Debian 6.1.192, QEMU\n")
    assert source_faults(tmp_path) == []
