"""Print what lets a shell complete memsim's commands, scenarios and runs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what lets a shell complete memsim's commands, options, scenarios and runs.

    bash: eval "$(memsim completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; fish: memsim
    completion fish > ~/.config/fish/completions/memsim.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "memsim", "_MEMSIM_COMPLETE").source())
