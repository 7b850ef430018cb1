"""``fimg doctor``: what stands in the way, with the line that mends it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import click
from rich.console import Console
from rich.markup import escape

from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.doctor.examination import examine
from fimg_pipeline.doctor.findings import Finding, Verdict, told
from fimg_pipeline.settings import Settings

_MARKS: Final[Mapping[Verdict, str]] = {
    Verdict.OK: "[green]✓[/]",
    Verdict.NOTE: "[cyan]·[/]",
    Verdict.WARNING: "[yellow]![/]",
    Verdict.WRONG: "[red]✗[/]",
}


def findings(settings: Settings) -> Iterator[Finding]:
    """Everything, Dagster's instance first: without it nothing is built or shown."""

    def instance() -> str:
        with open_instance(settings) as found:
            return f"Dagster instance in {found.root_directory}"

    yield from told("instance", instance)
    for warning in settings.warnings:
        yield Finding("settings", Verdict.WARNING, warning)
    yield from examine(settings)


def print_findings(found: Iterable[Finding], console: Console, *, as_json: bool) -> int:
    """Prints each as it is found, or all as a JSON list; the process's exit status."""
    seen = []
    for each in found:
        seen.append(each)
        if not as_json:
            console.print(
                f"{_MARKS[each.verdict]} [bold]{escape(each.part)}[/]: {escape(each.told)}",
                highlight=False,
                soft_wrap=True,
            )
            if each.hint:
                console.print(f"    → {escape(each.hint)}", highlight=False, soft_wrap=True)
    counts = Counter(each.verdict for each in seen)
    if as_json:
        rows = [
            {"part": each.part, "verdict": each.verdict.value, "told": each.told, "hint": each.hint or None}
            for each in seen
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        wrong, warnings = counts[Verdict.WRONG], counts[Verdict.WARNING]
        console.print(f"{wrong} wrong, {warnings} warnings" if wrong or warnings else "nothing stands in the way")
    return 1 if counts[Verdict.WRONG] else 0
