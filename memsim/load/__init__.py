"""YAML -> Scenario; every error has file, line and column, and all are reported at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from memsim import plugins, rules
from memsim.errors import InputError, Problem, suggest
from memsim.load.document import Document, Mark, read_text, read_yaml
from memsim.load.machines import with_machine_file
from memsim.load.policy import Policy
from memsim.scenario import PluginSource, Scenario
from memsim.scenario.content import canonical_json, digest_path
from memsim.scenario.paths import resolve
from memsim.units import describe, parse_int_set

WHICH_MACHINE = ("machine", "machine.like")
"""Paths that may name another machine file."""


def scenario_folders() -> tuple[Path, ...]:
    """Where shipped scenarios lie: in an installed package, else in the checkout around it."""
    package = Path(__file__).parents[1]
    checkout = package.parent
    if (package / "scenarios").is_dir():
        return (package / "scenarios",)
    return (checkout / "scenarios",) if (checkout / "pyproject.toml").is_file() else ()


def shipped_scenarios() -> dict[str, Path]:
    """Return the shipped scenarios by name, sorted."""
    files = {path.stem: path for folder in scenario_folders() for path in folder.glob("*.yaml")}
    return dict(sorted(files.items()))


def shipped_machines() -> dict[str, Path]:
    """Return the shipped machine files by name, sorted."""
    folders = [folder / "machines" for folder in scenario_folders()]
    files = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return dict(sorted(files.items()))


def find_scenario(name_or_path: str) -> Path:
    """Return the file of a scenario given by path or by the name of a shipped one."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or os.path.isfile(path):
        return path
    shipped = shipped_scenarios()
    if name_or_path in shipped:
        return shipped[name_or_path]
    message = "there is no such scenario"
    raise InputError([Problem(name_or_path, 0, 0, message, suggest(name_or_path, shipped))])


def load_scenario(
    path: Path,
    *,
    variants: Mapping[str, Policy] | None = None,
    sets: Sequence[str] = (),
    policies: Sequence[str] = (),
    seeds: str | None = None,
) -> Scenario:
    """Read a scenario file with overrides; raises InputError with every problem, sorted.

    ``variants`` are policies that are added, or take the place of those of the same name; ``sets``
    are ``path=value`` with values in YAML; ``policies`` keeps only these; ``seeds`` replaces the
    scenario's seeds.
    """
    text = read_text(path)
    return load_text(
        text, str(path), str(path.parent),
        variants=variants, sets=sets, policies=policies, seeds=seeds,
    )  # fmt: skip


def load_text(
    text: str,
    name: str,
    directory: str,
    *,
    variants: Mapping[str, Policy] | None = None,
    sets: Sequence[str] = (),
    policies: Sequence[str] = (),
    seeds: str | None = None,
) -> Scenario:
    """Read the text of a scenario, as ``load_scenario`` does."""
    document = read_yaml(text, name)
    if not isinstance(document.data, dict):
        mark = document.values.get((), Mark(name, 1, 1))
        found = "an empty file" if document.data is None else describe(document.data)
        hint = "memsim new writes a commented scenario to begin with"
        raise InputError([mark.problem(f"expected a mapping, found {found}", hint)])
    added = {name: _written(policy) for name, policy in (variants or {}).items()}
    document = _with_variants(document, added)
    likes = [text for text in sets if text.partition("=")[0] in WHICH_MACHINE]
    document, problems = _with_overrides(document, likes, None)
    document, lost = with_machine_file(document, directory, shipped_machines())
    document, more = _with_overrides(document, [text for text in sets if text not in likes], seeds)
    problems += lost + more
    checked = rules.check(document.data, directory)
    # Without its file a machine lacks much that the scenario is not to blame for.
    problems += [
        document.problem(finding)
        for finding in checked.findings
        if not lost or finding.loc[:1] != ("machine",)
    ]
    problems += [
        Problem("--policy", 0, 0, f"there is no policy {describe(name)}", suggest(name, known))
        for known in [checked.scenario.policies if checked.scenario else {}]
        for name in policies
        if known and name not in known
    ]
    if problems or checked.scenario is None:
        raise InputError(sorted(set(problems)))
    scenario = Scenario.model_construct(
        checked.scenario.model_fields_set,
        **dict(checked.scenario),
        directory=directory,
        source=text,
        overrides=(
            *(f"policies.{name}={text}" for name, text in added.items()),
            *sets,
            *([f"seeds={seeds}"] if seeds is not None else []),
        ),
        inputs=tuple((p, _digest(Path(directory, p))) for p in sorted(checked.inputs)),
        plugins=tuple(PluginSource(f.folder, f.name, f.path, f.sha256) for f in plugins.loaded()),
    )
    return scenario.only(tuple(policies)) if policies else scenario


def _digest(path: Path) -> str:
    try:
        return digest_path(path)
    except OSError as error:
        message = f"cannot be read ({error.strerror or error})"
        raise InputError([Problem(str(error.filename or path), 0, 0, message)]) from error


def _written(policy: Policy) -> str:
    try:
        return canonical_json(policy.written)
    except (TypeError, ValueError) as error:
        message = f"options must be plain data: {error}"
        raise InputError([Problem("variants", 0, 0, message)]) from None


def _with_variants(document: Document, variants: Mapping[str, str]) -> Document:
    if isinstance(document.data.get("policies"), dict):
        for name, text in variants.items():
            flat = _flat(text, Mark(f"variant {name}", 0, 0))
            document = document.put(("policies", name), flat)
    return document


def _with_overrides(
    document: Document, sets: Sequence[str], seeds: str | None
) -> tuple[Document, list[Problem]]:
    problems: list[Problem] = []
    for text in sets:
        path, equals, value = text.partition("=")
        place = Mark(f"--set {path}", 0, 0)
        try:
            if not (path and equals):
                raise ValueError(f"expected path=value, found {describe(text)}")
            flat = _flat(value, place)
            for loc in resolve(document.data, path):
                document = document.put(loc, flat)
        except InputError as error:
            problems += [place.problem(p.message, p.hint) for p in error.problems]
        except ValueError as error:
            problems.append(place.problem(str(error), getattr(error, "hint", "")))
    if seeds is not None:
        place = Mark("--seeds", 0, 0)
        try:
            document = document.put(("seeds",), Document([*parse_int_set(seeds)], {(): place}))
        except ValueError as error:
            problems.append(place.problem(str(error)))
    return document, problems


def _flat(value: str, place: Mark) -> Document:
    """Read the value of an option, all of which is at one place."""
    document = read_yaml(value, place.path)
    return Document(
        document.data,
        dict.fromkeys(document.values or [()], place),
        dict.fromkeys(document.keys, place),
    )


class _Load(ModuleType):
    """This module, which is also the public function of its name."""

    def __call__(
        self,
        name_or_path: str | Path,
        *,
        variants: Mapping[str, Policy] | None = None,
        sets: Sequence[str] = (),
        policies: Sequence[str] = (),
        seeds: str | None = None,
    ) -> Scenario:
        """Read a scenario given by file or by the name of a shipped one, as ``load_scenario``."""
        path = find_scenario(str(name_or_path))
        return load_scenario(path, variants=variants, sets=sets, policies=policies, seeds=seeds)


sys.modules[__name__].__class__ = _Load
