"""List policies, workloads, metrics, traces, scenarios, machines or figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from memsim.cli._plugins import plugin_option
from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.plugins import Folder, ModelFolder

FAILS = 1
KINDS = ("policies", "workloads", "metrics", "traces", "scenarios", "machines", "figures")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--types", is_flag=True, help="Say which type each class of requests gets (policies)."
)
@click.option(
    "--verify", is_flag=True, help="Check policies on a small machine; exit 1 if one fails."
)
@click.option("--format", "form", type=click.Choice(["table", "json", "markdown"]),
              default="table", help="markdown: a reference of all metrics.")  # fmt: skip
@plugin_option
@click.pass_context
def command(
    ctx: click.Context, kind: str, names: tuple[str, ...], types: bool, verify: bool, form: str
) -> None:
    """List what this memsim offers, with knobs and units; all of a kind, or what is named."""
    if types or verify:
        from memsim.cli._policies import print_conformance, print_types

        if kind != "policies":
            raise click.UsageError("--types and --verify are for policies")
        chosen = _chosen("policies", names)
        if types:
            print_types(chosen, form)
        if verify and not print_conformance(chosen, form):
            ctx.exit(FAILS)
        return
    if form == "markdown":
        from memsim.cli._reference import metrics_reference

        if kind != "metrics" or names:
            raise click.UsageError("--format markdown is for all metrics")
        click.echo(metrics_reference())
        return
    rows = {
        "policies": lambda: _models("policies", names),
        "workloads": lambda: _models("workloads", names),
        "metrics": lambda: _metrics(names),
        "traces": lambda: _traces(names),
        "scenarios": lambda: _scenarios(names),
        "machines": lambda: _machines(names),
        "figures": lambda: _figures(names),
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


def _chosen(folder: Folder, names: tuple[str, ...]) -> list[str]:
    """Return the names of plug-ins that were asked for, all if none was."""
    from memsim import plugins

    for name in names:
        plugins.find(folder, name)
    return list(dict.fromkeys(names)) or list(plugins.offered(folder))


def _models(folder: ModelFolder, names: tuple[str, ...]) -> list[dict[str, Any]]:
    from memsim import plugins
    from memsim.rules.vocabulary import knobs

    return [
        {"name": name, "summary": plugins.summary(folder, name), "knobs": knobs(folder, name)}
        for name in _chosen(folder, names)
    ]


def _metrics(names: tuple[str, ...]) -> list[dict[str, Any]]:
    from memsim import plugins

    chosen = _chosen("metrics", names)
    return [
        {"name": name, "summary": column.doc, "unit": column.unit, "better": column.better}
        for name, column in plugins.metric_columns().items()
        if name.partition(".")[0] in chosen
    ]


def _traces(names: tuple[str, ...]) -> list[dict[str, Any]]:
    from memsim import plugins

    chosen = _chosen("traces", names)
    return [{"name": name, "summary": plugins.summary("traces", name)} for name in chosen]


def _scenarios(names: tuple[str, ...]) -> list[dict[str, Any]]:
    from memsim.errors import InputError
    from memsim.load import find_scenario, load_scenario, shipped_scenarios

    rows = []
    chosen = {name: find_scenario(name) for name in names} or shipped_scenarios()
    for name, path in chosen.items():
        try:
            title = load_scenario(path).title
        except InputError:
            title = "(not valid: see memsim validate)"
        rows.append({"name": name, "summary": title})
    return rows


def _machines(names: tuple[str, ...]) -> list[dict[str, Any]]:
    from memsim.errors import InputError
    from memsim.load import shipped_machines
    from memsim.load.document import Mark
    from memsim.load.machines import TITLE, find_machine, read_machine

    rows = []
    shipped = shipped_machines()
    chosen = {name: find_machine(name, ".", shipped, Mark(name, 0, 0)) for name in names}
    for name, path in (chosen or shipped).items():
        try:
            title = read_machine(path).data.get(TITLE, "")
        except InputError:
            title = "(not valid: see memsim validate of a scenario that names it)"
        rows.append({"name": name, "summary": title})
    return rows


def _figures(names: tuple[str, ...]) -> list[dict[str, Any]]:
    from memsim import plots
    from memsim.errors import InputError, Problem, suggest

    for name in names:
        if name not in plots.offered():
            message = f"there is no figure {name!r}"
            raise InputError(
                [Problem("list figures", 0, 0, message, suggest(name, plots.offered()))]
            )
    chosen = dict.fromkeys(names) or plots.offered()
    return [{"name": name, "summary": plots.title(name)} for name in chosen]
