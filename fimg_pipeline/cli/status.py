"""``fimg status``: how every image of the watched tags stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.status import PartitionStatus, State, status
from fimg_pipeline.automation.watching import Memory, survey
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.cli.options import given_settings
from fimg_pipeline.settings import Settings

_STYLE: Final = {
    State.BUILT: "green",
    State.STALE: "yellow",
    State.MISSING: "yellow",
    State.FAILED: "red",
    State.BUILDING: "cyan",
    State.UNBUILDABLE: "dim",
}


def statuses(settings: Settings, flags: dict[str, str]) -> list[PartitionStatus]:
    """How everything watched stands; of the tag and the platform alone that ``flags`` name."""
    platforms = [settings.platform] if "Platform" in flags else settings.watched_platforms
    with open_instance(settings) as instance:
        close_abandoned_runs(instance)
        watched = survey(instance, Pipeline(overrides=given_settings(settings, flags)), Memory(), platforms)
        found = [each for of_tag in watched for each in of_tag]
        return [status(instance, each) for each in found if "TAG" not in flags or each.tag == settings.tag]


def print_status(found: Sequence[PartitionStatus], console: Console) -> None:
    """One line for each platform's tag, and below it what of it is not built, and why."""
    for partition in found:
        counts = [(state, partition.count(state)) for state in State]
        told = ", ".join(f"[{_STYLE[state]}]{count} {state.value}[/]" for state, count in counts if count)
        at = f" at {partition.commit[:12]}" if partition.commit else ""
        console.print(
            f"[bold]{escape(partition.tag)}[/] for {partition.platform}{at}: {told or 'nothing is known of it'}",
            highlight=False,
        )
        if partition.problem:
            console.print(f"  [red]{escape(partition.problem)}[/]", highlight=False, soft_wrap=True)
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for image in partition.wanting:
            run = f" (run {image.run[:8]})" if image.run else ""
            table.add_row(f"  {image.name}", f"[{_STYLE[image.state]}]{image.state.value}[/]", escape(image.why) + run)
        if partition.wanting:
            console.print(table)
