"""A plan executed as a Dagster run: shown live, and said truthfully how it ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence

import dagster as dg
from rich.console import Console

from fimg_pipeline.assets.keys import SOURCE, image_key, package_key
from fimg_pipeline.assets.partitions import add_tag, partition_key
from fimg_pipeline.automation.liveness import TAG_COMMAND, alive, close_abandoned_runs
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.cli.options import given_settings
from fimg_pipeline.cli.summary import print_summary
from fimg_pipeline.cli.watch import Outcomes, Watcher, interruptions, quiet
from fimg_pipeline.plan.model import Plan, Planned, PlannedPackage
from fimg_pipeline.progress import Kind
from fimg_pipeline.settings import Settings


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
    """What is not up to date on the engine, or not recorded as such in the instance."""
    key = partition_key(plan.platform, plan.tag)
    outdated = {(type(item), item.name) for item in plan.outdated}
    return [
        item
        for item in (*plan.packages, *plan.buildable)
        if (type(item), item.name) in outdated or _recorded(instance, _key(item), key) != item.fingerprint
    ]


def _recorded(instance: dg.DagsterInstance, key: dg.AssetKey, partition: dg.MultiPartitionKey) -> str | None:
    """The fingerprint an asset was last materialized with."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
    ).records
    materialization = found[0].asset_materialization if found else None
    return (materialization.tags or {}).get("fimg/fingerprint") if materialization else None


def _key(item: Planned) -> dg.AssetKey:
    return package_key(item.name) if isinstance(item, PlannedPackage) else image_key(item.name)


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

    command = uuid.uuid4().hex
    key = partition_key(plan.platform, plan.tag)
    overrides = given_settings(settings, dict(flags))
    console.print(
        f"{len(todo)} of {len(plan.packages) + len(plan.buildable)} to make, name or record for {plan.platform}, "
        f"tag {plan.tag}"
    )
    watcher = Watcher(instance, settings, command, len(todo), console)
    log = settings.home / "logs" / f"{command}.log"
    with alive(instance, command), interruptions() as interrupted, watcher, quiet(log):
        result = dg.execute_job(
            dg.reconstructable(build_job),
            instance,
            run_config={
                "resources": {"pipeline": {"config": {"overrides": overrides, "source": source_key}}},
                # The terminal shows our own progress; Dagster's event log keeps everything.
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags={
                "dagster/partition": str(key),
                "dagster/partition/platform": plan.platform,
                "dagster/partition/tag": plan.tag,
                "fimg/commit": plan.source.fate.commit[:12],
                TAG_COMMAND: command,
                # It has no place from which a daemon could start it again.
                "dagster/max_retries": "0",
            },
            asset_selection=[SOURCE, *map(_key, todo)],
        )
        stopped = interrupted()
    if stopped is None:
        _add_failures(watcher.outcomes, result, todo)
    print_summary(console, settings.home, plan, watcher.outcomes, time.monotonic() - started, todo=todo)
    if stopped is not None and not result.success:
        console.print("interrupted; what was finished is kept, the rest is built by the next run")
        return 128 + stopped
    if not result.success:
        console.print(f"run {result.run_id} failed; see it in the web UI (`make ui`), or the logs named above")
    return 0 if result.success else 1


def _add_failures(outcomes: Outcomes, result: dg.ExecuteJobResult, todo: Sequence[Planned]) -> None:
    """What failed without saying so itself: a step whose process was killed, or that never came to its work."""
    steps: dict[str, tuple[Kind, str]] = {SOURCE.to_python_identifier(): ("source", "source")}
    for item in todo:
        kind: Kind = "package" if isinstance(item, PlannedPackage) else "image"
        steps[_key(item).to_python_identifier()] = (kind, item.name)
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE and event.step_key in steps:
            error = event.step_failure_data.error
            message = error.message.partition(": ")[2].strip() if error else ""
            outcomes.add_failure(
                *steps[event.step_key],
                message or "its process was killed; the system's log says whether memory ran out",
            )
