"""``fimg prune``: what is superseded, listed, and with ``--yes`` removed."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.automation.pruning import Removal, prune, summary, superseded
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.settings import Settings


def prune_superseded(settings: Settings, console: Console, *, really: bool) -> int:
    """Lists everything that goes, and has it go if that is ``really`` meant; the process's exit status."""
    with open_instance(settings) as instance:
        close_abandoned_runs(instance)
        engines = [Engine(address) for address in settings.engine_addresses]
        removals, waiting = superseded(instance, settings, engines)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("kind", "what", "why", "MB"):
            table.add_column(column, overflow="fold", justify="right" if column == "MB" else "left")
        for each in removals:
            size = f"{each.size / 1e6:.1f}" if each.size else ""
            table.add_row(each.kind, escape(each.what), escape(each.why), size)
        if removals:
            console.print(table)
        for line in waiting:
            console.print(f"[yellow]{escape(line)}[/]", highlight=False, soft_wrap=True)
        counts = _counted(removals)
        if not removals:
            console.print("nothing to remove")
            return 0
        if not really:
            console.print(f"would go: {counts}; remove it: fimg prune --yes", highlight=False)
            return 0
        pruned = prune(instance, removals, lambda _: None)
    for line in pruned.kept:
        click.echo(line, err=True)
    console.print(f"removed: {_counted(pruned.removed) or 'nothing'}", highlight=False)
    return 1 if pruned.kept else 0


def _counted(removals: Sequence[Removal]) -> str:
    """How many of what; of images only the engine knows what is freed, as they share layers."""
    return ", ".join(
        f"{count} {kind}{'s' if count > 1 else ''}" + (f" ({size / 1e6:.1f} MB)" if size else "")
        for kind, count, size in summary(removals)
    )
