"""A plan executed as a Dagster run: shown live, and said truthfully how it ended."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import dagster as dg
from rich.console import Console

from fimg_pipeline.assets.keys import SOURCE, image_key, package_key
from fimg_pipeline.assets.partitions import add_tag, partition_key
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.cli.options import given_settings
from fimg_pipeline.cli.summary import print_summary
from fimg_pipeline.cli.watch import TAG_PROCESS, Outcomes, Watcher, interruptions, quiet
from fimg_pipeline.plan.model import Plan, Planned, PlannedPackage
from fimg_pipeline.settings import Settings

_UNFINISHED: Final = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


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


def close_abandoned_runs(instance: dg.DagsterInstance) -> None:
    """Marks runs as failed whose `fimg` on this machine was killed: nobody else can know, and they would look alive."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
        run = record.dagster_run
        host, pid, _ = (*run.tags.get(TAG_PROCESS, "").split(":"), "", "")[:3]
        if host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            instance.report_run_failed(run, "the process that executed this run is gone")
            # Where no daemon runs nobody else would, and the pool would fill up with the places of dead steps.
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


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

    process = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    key = partition_key(plan.platform, plan.tag)
    overrides = given_settings(settings, dict(flags))
    console.print(
        f"{len(todo)} of {len(plan.packages) + len(plan.buildable)} to make for {plan.platform}, tag {plan.tag}"
    )
    watcher = Watcher(instance, settings, process, len(todo), console)
    with interruptions() as interrupted, watcher, quiet(settings.home / "logs" / f"{process}.log"):
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
                TAG_PROCESS: process,
            },
            asset_selection=[SOURCE, *map(_key, todo)],
        )
        stopped = interrupted()
    print_summary(console, settings.home, plan, watcher.outcomes, time.monotonic() - started, todo=todo)
    if stopped is not None and not result.success:
        console.print("interrupted; what was finished is kept, the rest is built by the next run")
        return 128 + stopped
    if not result.success:
        console.print(f"run {result.run_id} failed; see it in the web UI (`make ui`), or the logs named above")
    return 0 if result.success else 1
