"""A plan executed as a Dagster run: shown live, and said truthfully how it ended."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dagster as dg
from rich.console import Console
from rich.markup import escape

from fimg_pipeline.assets.keys import SOURCE, planned_key
from fimg_pipeline.assets.liveness import TAG_COMMAND, alive, close_abandoned_runs
from fimg_pipeline.assets.partitions import add_tag, partition_key
from fimg_pipeline.assets.records import is_recorded
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.cli.options import given_settings
from fimg_pipeline.cli.summary import print_log, print_summary
from fimg_pipeline.cli.watch import Watcher, interruptions, quiet
from fimg_pipeline.plan.model import Plan, Planned, PlannedPackage
from fimg_pipeline.progress import Kind, Outcomes
from fimg_pipeline.settings import Settings

#: By it the web UI lists runs of the command below their job: Dagster's own tag, of what the daemon starts.
_LISTED: Final = {".dagster/repository": "__repository__@fimg"}


def run_outdated(
    settings: Settings, flags: Mapping[str, str], plan: Plan, source_key: str, console: Console, started: float
) -> int:
    """Makes what ``plan`` finds outdated, or what Dagster has no record of; the process's exit status.

    ``started``: when the command was, on the monotonic clock, for the summary.
    """
    with open_instance(settings) as instance:
        close_abandoned_runs(instance)
        add_tag(instance, plan.tag)
        todo = _to_materialize(instance, plan)
        if not todo:
            print_summary(console, settings.home, plan, Outcomes(), time.monotonic() - started)
            return 0
        return _execute(instance, settings, flags, plan, source_key, todo, console, started)


def _to_materialize(instance: dg.DagsterInstance, plan: Plan) -> list[Planned]:
    """What is not up to date on the engine, or not recorded as such in the instance: as ``fimg status`` has it."""
    outdated = {(type(item), item.name) for item in plan.outdated}
    return [
        item
        for item in (*plan.packages, *plan.buildable)
        if (type(item), item.name) in outdated or not is_recorded(instance, item, plan.platform, plan.tag)
    ]


def _kind(item: Planned) -> Kind:
    return "package" if isinstance(item, PlannedPackage) else "image"


def _execute(
    instance: dg.DagsterInstance,
    settings: Settings,
    flags: Mapping[str, str],
    plan: Plan,
    source_key: str,
    todo: Sequence[Planned],
    console: Console,
    started: float,
) -> int:
    from fimg_pipeline.definitions import build_job

    console.print(
        f"{len(todo)} of {len(plan.packages) + len(plan.buildable)} to make, name or record for {plan.platform}, "
        f"tag {plan.tag}"
    )
    steps = {planned_key(item).to_python_identifier(): (_kind(item), item.name) for item in todo}
    launch = Launch(build_job, [SOURCE, *map(planned_key, todo)], of_platform(plan), len(todo))
    ended = execute(instance, settings, flags, plan, source_key, console, launch)
    if ended.stopped is None:
        ended.add_failures({SOURCE.to_python_identifier(): ("source", "source"), **steps})
    print_summary(console, settings.home, plan, ended.outcomes, time.monotonic() - started, todo=todo)
    return ended.status(console, "what was finished is kept, the rest is built by the next run")


def of_platform(plan: Plan) -> dict[str, str]:
    """Tags of a run for the partition of a plan's platform and tag."""
    return {
        "dagster/partition": str(partition_key(plan.platform, plan.tag)),
        "dagster/partition/platform": plan.platform,
        "dagster/partition/tag": plan.tag,
    }


@dataclass(frozen=True)
class Launch:
    """What a run executes: ``selection`` of ``job`` for a partition (its tags), ``total`` steps that report something.

    ``configuration`` of ops, by name.
    """

    job: Callable[[], dg.JobDefinition]
    selection: Sequence[dg.AssetKey]
    partition: Mapping[str, str]
    total: int
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a run ended: Dagster's result, what its steps said, and which signal had asked it to stop."""

    result: dg.ExecuteJobResult
    outcomes: Outcomes
    stopped: signal.Signals | None

    def status(self, console: Console, kept: str) -> int:
        """The exit status, after telling what is not told yet; ``kept``: what becomes of an interrupted run's work."""
        if self.stopped is not None and not self.result.success:
            console.print(f"interrupted; {kept}")
            return 128 + self.stopped
        if not self.result.success:
            console.print(f"run {self.result.run_id} failed; see it in the web UI, or the logs named above")
        return 0 if self.result.success else 1

    def print_failures_and_checks(self, console: Console, home: Path) -> int:
        """What failed, in full, and what the checks found; 1 when a check failed."""
        told = set()
        for (kind, name), event in self.outcomes.events.items():
            if event.what == "failed":
                console.print(f"[red]failed[/]  {name}: {escape(event.message)}")
                print_log(console, home, self.result.run_id, kind, name)
                told.add(event.message)
        status = 0
        for dagster_event in self.result.all_events:
            if dagster_event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                continue
            found = dagster_event.asset_check_evaluation_data
            style = "green" if found.passed else "yellow" if found.severity is dg.AssetCheckSeverity.WARN else "red"
            if found.description not in told:
                console.print(f"[{style}]{escape(found.description or found.check_name)}[/]")
            status |= not found.passed and found.severity is dg.AssetCheckSeverity.ERROR
        return status

    def add_failures(self, steps: Mapping[str, tuple[Kind, str]]) -> None:
        """What failed without saying so itself: a step whose process was killed, or that never came to its work."""
        for event in self.result.all_events:
            if event.event_type is dg.DagsterEventType.STEP_FAILURE and event.step_key in steps:
                error = event.step_failure_data.error
                message = error.message.partition(": ")[2].strip() if error else ""
                self.outcomes.add_failure(
                    *steps[event.step_key],
                    message or "its process was killed; the system's log says whether memory ran out",
                )


def execute(
    instance: dg.DagsterInstance,
    settings: Settings,
    flags: Mapping[str, str],
    plan: Plan,
    source_key: str,
    console: Console,
    launch: Launch,
) -> Ended:
    """Executes a run, shown live."""
    # Short: it is among the first things that the list of runs shows of one.
    command = uuid.uuid4().hex[:12]
    overrides = given_settings(settings, dict(flags))
    watcher = Watcher(instance, settings, command, launch.total, console)
    log = settings.home / "logs" / f"{command}.log"
    with alive(instance, command), interruptions() as interrupted, watcher, quiet(log):
        result = dg.execute_job(
            dg.reconstructable(launch.job),
            instance,
            run_config={
                "resources": {"pipeline": {"config": {"overrides": overrides, "source": source_key}}},
                "ops": {name: {"config": values} for name, values in launch.configuration.items()},
                # The terminal shows our own progress; Dagster's event log keeps everything.
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags={
                **launch.partition,
                "fimg/commit": plan.source.fate.commit[:12],
                TAG_COMMAND: command,
                **_LISTED,
                # It has no place from which a daemon could start it again.
                "dagster/max_retries": "0",
            },
            asset_selection=list(launch.selection),
        )
        stopped = interrupted()
    return Ended(result, watcher.outcomes, stopped)
