"""How a run came to be, and the commands that repeat it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from memsim.results import Run
from memsim.results.manifest import WRITTEN
from memsim.units import format_int_set


@dataclass(frozen=True)
class Provenance:
    """What a report says of a run's origin."""

    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    source: str
    """The scenario word for word."""
    failed: tuple[str, ...]
    notes: tuple[str, ...]


def provenance_of(run: Run) -> Provenance:
    """Collect it from the manifest."""
    manifest = run.manifest
    trials = manifest["trials"]
    libraries = ", ".join(f"{name} {text}" for name, text in manifest["libraries"].items())
    facts = [
        ("scenario", f"{manifest['scenario']}: {manifest['title']}"),
        ("policies", ", ".join(manifest["policies"])),
        ("axes", ", ".join(manifest["axes"])),
        ("seeds", _seeds(manifest["seeds"])),
        ("trials", f"{len(trials)}, {run.failed} failed"),
        ("kernels", ", ".join(manifest["profiles"])),
        ("overrides", ", ".join(manifest["overrides"])),
        ("memsim", f"{manifest['memsim']}, Python {manifest['python']}, {libraries}"),
        ("carried out", f"{manifest['started']}, {manifest['wall_time_s']:.1f} s"),
        ("content", manifest["content_hash"]),
        ("folder", str(run.folder)),
    ]
    missing = manifest.get("missing", ())
    facts += [("missing", f"{len(missing)} trials of the scenario")] if missing else []
    return Provenance(
        facts=tuple((name, text) for name, text in facts if text),
        commands=tuple(_commands(run)),
        source=run.scenario.source,
        failed=tuple(
            f"{row['policy']}, seed {row['seed']}: {row['error']}"
            for row in run.trial_rows()
            if row["status"] == "failed"
        ),
        notes=tuple(manifest["notes"]),
    )


def _commands(run: Run) -> list[str]:
    """Write the commands that repeat it; one that reads other files is repeated from its folder."""
    manifest = run.manifest
    plugins = "".join(f" --plugin {shlex.quote(p['path'])}" for p in manifest["plugins"])
    folder = shlex.quote(str(run.folder))
    again = [] if manifest["inputs"] else [f"memsim run {folder}/{WRITTEN}{plugins}"]
    return [*again, f"memsim verify {folder}{plugins}"]


def _seeds(seeds: list[int]) -> str:
    text = format_int_set(tuple(seeds))
    return text if isinstance(text, str) else ",".join(map(str, text))
