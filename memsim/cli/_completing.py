"""What a shell is offered for the arguments of commands: runs and scenarios by name, or files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def scenarios(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the shipped scenarios, files where none begins so."""
    return _offered(_scenarios(), incomplete, "file")


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the runs below the folder of results, folders where none begins so."""
    return _offered(_runs(ctx), incomplete, "dir")


def scenarios_and_runs(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer both, files where none begins so."""
    return _offered({*_scenarios(), *_runs(ctx)}, incomplete, "file")


def _offered(names: Iterable[str], incomplete: str, kind: str) -> list[CompletionItem]:
    # Shells forget names that stand before a request to complete paths.
    mine = [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
    return mine or [CompletionItem(incomplete, type=kind)]


def _scenarios() -> Iterable[str]:
    from memsim.load import shipped_scenarios

    return shipped_scenarios()


def _runs(ctx: click.Context) -> set[str]:
    out = Path(ctx.params.get("out") or ctx.params.get("root") or "results")
    folders = [path.parent for path in out.glob("*/*/manifest.json")]
    return {f.parent.name for f in folders} | {f"{f.parent.name}/{f.name}" for f in folders}
