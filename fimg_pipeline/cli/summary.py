"""The closing summary of a build: how many of each, and by name what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.plan.model import Plan, Planned, PlannedPackage
from fimg_pipeline.progress import Outcomes, log_path


def print_summary(
    console: Console, home: Path, plan: Plan, outcomes: Outcomes, seconds: float, *, todo: Sequence[Planned] = ()
) -> None:
    """One closing block: how many of each, and by name what needs a person."""
    wanted = {item.name for item in todo if not isinstance(item, PlannedPackage)}
    built: list[str] = []
    reused: list[str] = []
    failed: list[str] = []
    skipped: list[str] = []
    for image in plan.buildable:
        event = outcomes.of(image)
        if image.name not in wanted:
            reused.append(image.name)
        elif event is None or event.what == "started":
            skipped.append(image.name)
        else:
            {"built": built, "reused": reused, "failed": failed}[event.what].append(image.name)
    packages = [item for item in todo if isinstance(item, PlannedPackage)]
    made = [item.name for item in packages if (event := outcomes.of(item)) and event.what == "built"]
    broken = [item.name for item in packages if (event := outcomes.of(item)) and event.what == "failed"]
    console.print()
    console.print(
        f"images: {len(built)} built, {len(reused)} up to date, {len(failed)} failed, {len(skipped)} skipped; "
        f"packages: {len(made)} made, {len(plan.packages) - len(made) - len(broken)} up to date, {len(broken)} failed; "
        f"{seconds:.0f} s"
    )
    source = outcomes.events.get(("source", "source"))
    no_source = source is not None and source.what == "failed"
    if source is not None and no_source:
        console.print(f"[red]failed[/]  source: {escape(source.message)}")
    for kind, name in [("package", name) for name in broken] + [("image", name) for name in failed]:
        event = outcomes.events[(kind, name)]
        console.print(f"[red]failed[/]  {name}: {escape(event.message.splitlines()[0])}")
        if outcomes.run_id:
            print_log(console, home, outcomes.run_id, kind, name)
    for name in skipped:
        console.print(f"[yellow]skipped[/] {name}: {_why_skipped(name, failed, broken, no_source)}")


def print_log(console: Console, home: Path, run_id: str, kind: str, name: str) -> None:
    """Where the log of a step is, if it has one."""
    log = log_path(home, run_id, name if kind == "image" else f"{kind}-{name}")
    if log.exists():
        console.print(f"        log: {log}", markup=False)


def _why_skipped(name: str, failed: Sequence[str], broken: Sequence[str], no_source: bool) -> str:
    if no_source:
        return "it needs the source, which could not be resolved"
    current: str | None = name
    while current is not None:
        needs = [package for package in IMAGES[current].recipe.packages if package in broken]
        if needs:
            return f"it needs package {needs[0]}, which failed"
        current = IMAGES[current].parent
        if current in failed:
            return f"it stands on {current}, which failed"
    return "the run ended before it"
