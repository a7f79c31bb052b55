"""List policies, workloads, metrics, traces or scenarios."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from memsim.cli._plugins import plugin_option
from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.plugins import ModelFolder

KINDS = ("policies", "workloads", "metrics", "traces", "scenarios")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@plugin_option
def command(kind: str, form: str) -> None:
    """List what this memsim offers, with knobs and units."""
    rows = {
        "policies": lambda: _models("policies"),
        "workloads": lambda: _models("workloads"),
        "metrics": _metrics,
        "traces": _traces,
        "scenarios": _scenarios,
    }[kind]()
    from memsim.scenario import as_text

    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        unit = f"  [{row['unit']}]" if "unit" in row else ""
        click.echo(visible(f"{row['name']:<{width}}  {row['summary']}{unit}"))
        for knob in row.get("knobs", ()):
            default = "not set" if knob["default"] is None else as_text(knob["default"])
            about = " ".join(["", "", *knob["about"].split()])
            click.echo(visible(f"    {knob['name']}: {default}{about}".rstrip()))


def _models(folder: ModelFolder) -> list[dict[str, Any]]:
    from memsim import plugins
    from memsim.rules.vocabulary import knobs

    return [
        {"name": name, "summary": plugins.summary(folder, name), "knobs": knobs(folder, name)}
        for name in plugins.offered(folder)
    ]


def _metrics() -> list[dict[str, Any]]:
    from memsim import plugins

    return [
        {"name": name, "summary": column.doc, "unit": column.unit, "better": column.better}
        for name, column in plugins.metric_columns().items()
    ]


def _traces() -> list[dict[str, Any]]:
    from memsim import plugins

    names = plugins.offered("traces")
    return [{"name": name, "summary": plugins.summary("traces", name)} for name in names]


def _scenarios() -> list[dict[str, Any]]:
    from memsim.errors import InputError
    from memsim.load import load_scenario, shipped_scenarios

    rows = []
    for name, path in shipped_scenarios().items():
        try:
            title = load_scenario(path).title
        except InputError:
            title = "(not valid: see memsim validate)"
        rows.append({"name": name, "summary": title})
    return rows
