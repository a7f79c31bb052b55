"""The manifest of a run: what it is made of, and the only place for times and host."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from memsim import __version__, plugins
from memsim.errors import InputError, Problem
from memsim.results.store import MANIFEST, SCHEMA_VERSION
from memsim.results.tables import Finished
from memsim.scenario import Scenario, engine_digest

AGAIN = "memsim run --force writes it again"
LIBRARIES = ("numba", "numpy", "pyarrow", "pydantic", "scipy")


def make_manifest(
    scenario: Scenario, finished: Finished, files: Mapping[str, bytes], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe a run whose ``files`` are written; ``about`` is how it was carried out."""
    return {
        "schema_version": SCHEMA_VERSION,
        "memsim": __version__,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "host": {
            "name": platform.node(),
            "system": platform.platform(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "scenario": scenario.name,
        "title": scenario.title,
        "content_hash": scenario.content_hash,
        "text_hash": scenario.text_hash,
        "engine": {name: engine_digest(scenario, name) for name in scenario.policies},
        "directory": str(Path(scenario.directory).resolve()),
        "overrides": list(scenario.overrides),
        "inputs": dict(scenario.inputs),
        "plugins": [plugin._asdict() for plugin in scenario.plugins],
        "policies": list(scenario.policies),
        "profiles": sorted({trial.profile for trial, _ in finished}),
        "axes": list(scenario.axes),
        "seeds": list(scenario.seeds),
        "columns": {name: asdict(column) for name, column in plugins.metric_columns().items()},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "trials": [
            {
                "name": trial.name,
                "policy": trial.policy,
                "point": dict(trial.point),
                "seed": trial.seed,
                "status": result.status,
                "parts": {part: digest[:16] for part, digest in trial.parts.items()},
            }
            for trial, result in finished
        ],
        "notes": list(dict.fromkeys(note for _, result in finished for note in result.notes)),
        **about,
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run; raises InputError for one that is not there or no good."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        hint = "give the folder of one run, results/<scenario>/<run>"
        raise InputError([Problem(str(path), 0, 0, "there is no such file", hint)]) from None
    except OSError as error:
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from None
    except ValueError as error:
        raise InputError([Problem(str(path), 0, 0, f"is no JSON: {error}", AGAIN)]) from None
    if not isinstance(manifest, dict):
        raise InputError([Problem(str(path), 0, 0, "is no manifest of a run", AGAIN)])
    found = manifest.get("schema_version")
    if found != SCHEMA_VERSION:
        message = f"expected results of version {SCHEMA_VERSION}, found version {found}"
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        hint = "update memsim" if newer else AGAIN
        raise InputError([Problem(str(path), 0, 0, message, hint)])
    return manifest
