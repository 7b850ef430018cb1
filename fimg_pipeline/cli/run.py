"""``fimg build``: plans, executes what is stale as a Dagster run, shows it live, and says truthfully how it ended."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import dagster as dg
from rich.console import Console
from rich.markup import escape

from fimg_pipeline.assets.keys import SOURCE, image_key, package_key
from fimg_pipeline.assets.partitions import add_tag, partition_key
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.cli.options import given_settings
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.plan.model import Plan, Planned, PlannedPackage
from fimg_pipeline.plan.selection import Verb
from fimg_pipeline.planning import current_plan, ensure_recipe_bases
from fimg_pipeline.progress import Event, Follower, log_path
from fimg_pipeline.settings import Settings

#: Who executes a run: ``HOST:PID:RANDOM``. Finds our own run, and those whose process is gone.
TAG_PROCESS: Final = "fimg/process"
_POLL_SECONDS: Final = 0.3
_UNFINISHED: Final = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def build(settings: Settings, flags: Mapping[str, str], verb: Verb, names: Sequence[str]) -> int:
    """Builds what the plan finds stale; the process's exit status."""
    # On a descriptor of its own: while a run executes, the process's output belongs to Dagster and goes to a file.
    console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False, soft_wrap=True)
    started = time.monotonic()
    engine = Engine()
    plan = _plan_with_bases(settings, engine, verb, names, console)
    for warning in plan.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    with open_instance(settings) as instance:
        close_abandoned_runs(instance)
        add_tag(instance, plan.tag)
        todo = _to_materialize(instance, plan)
        if not todo:
            _summary(console, settings.home, plan, Outcomes(), time.monotonic() - started)
            return 0
        return _execute(instance, settings, flags, plan, todo, console, started)


def _plan_with_bases(settings: Settings, engine: Engine, verb: Verb, names: Sequence[str], console: Console) -> Plan:
    """The plan once the external bases it stands on are on the engine: what they are is part of every fingerprint."""
    plan = current_plan(settings, engine, verb=verb, names=names)
    present = engine.state().by_reference
    lacking = [
        item
        for item in (*plan.packages, *plan.buildable)
        if any(name.startswith("BASE_") and value not in present for name, value in item.build_args.items())
    ]
    if not lacking:
        return plan
    for item in lacking:
        ensure_recipe_bases(settings, engine, item.recipe, item.platform, lambda line: console.print(escape(line)))
    return current_plan(settings, engine, verb=verb, names=names)


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


@dataclass
class Outcomes:
    """What became of every image and package of a run, by asset key."""

    run_id: str | None = None
    events: dict[tuple[str, str], Event] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        self.events[(event.kind, event.name)] = event

    def of(self, item: Planned) -> Event | None:
        return self.events.get(("package" if isinstance(item, PlannedPackage) else "image", item.name))


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
    watcher = _Watcher(instance, settings, process, len(todo), console)
    with watcher, quiet(settings.home / "logs" / f"{process}.log"):
        result = dg.execute_job(
            dg.reconstructable(build_job),
            instance,
            run_config={
                "resources": {"pipeline": {"config": {"overrides": overrides}}},
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
    _summary(console, settings.home, plan, watcher.outcomes, time.monotonic() - started, todo=todo)
    if not result.success:
        console.print(f"run {result.run_id} failed; see it in the web UI (`make ui`), or the logs named above")
    return 0 if result.success else 1


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Sends what this process and its children print to ``path``: Dagster's own log, in full, for when it is needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


class _Watcher(threading.Thread):
    """Prints what the steps of a run report, as they do."""

    def __init__(
        self, instance: dg.DagsterInstance, settings: Settings, process: str, total: int, console: Console
    ) -> None:
        super().__init__(daemon=True)
        self._instance = instance
        self._settings = settings
        self._process_tag = process
        self._total = total
        self._console = console
        self._ended = threading.Event()
        self._done = 0
        self.outcomes = Outcomes()

    def run(self) -> None:
        follower: Follower | None = None
        ended = False
        while True:
            if follower is None:
                runs = self._instance.get_run_records(dg.RunsFilter(tags={TAG_PROCESS: self._process_tag}), limit=1)
                if runs:
                    self.outcomes.run_id = runs[0].dagster_run.run_id
                    follower = Follower(self._settings.home, self.outcomes.run_id)
            if follower is not None:
                self._show(follower.new())
            if ended:
                return
            ended = self._ended.wait(_POLL_SECONDS)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        """Shows what is left and ends."""
        self._ended.set()
        self.join()

    def _show(self, events: Iterable[Event]) -> None:
        for event in events:
            self.outcomes.add(event)
            label = event.name if event.kind == "image" else f"{event.kind} {event.name}"
            if event.what == "started":
                self._console.print(f"[dim]          {label} …[/]")
                continue
            if event.kind == "source":
                continue
            self._done += 1
            style = {"built": "green", "reused": "cyan", "failed": "red"}[event.what]
            counter = f"[{self._done:>2}/{self._total}]"
            self._console.print(f"{escape(counter):>8}  [{style}]{label} {event.what}[/] in {event.seconds:.1f} s")
            if event.what == "failed":
                self._console.print(f"          {event.message.splitlines()[0]}", markup=False)


def _summary(
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
    for kind, name in [("package", name) for name in broken] + [("image", name) for name in failed]:
        event = outcomes.events[(kind, name)]
        console.print(f"[red]failed[/]  {name}: {escape(event.message.splitlines()[0])}")
        if outcomes.run_id:
            shown = name if kind == "image" else f"package-{name}"
            console.print(f"        log: {log_path(home, outcomes.run_id, shown)}", markup=False)
    for name in skipped:
        console.print(f"[yellow]skipped[/] {name}: {_why_skipped(name, failed, broken)}")


def _why_skipped(name: str, failed: Sequence[str], broken: Sequence[str]) -> str:
    current: str | None = name
    while current is not None:
        needs = [package for package in IMAGES[current].recipe.packages if package in broken]
        if needs:
            return f"it needs package {needs[0]}, which failed"
        current = IMAGES[current].parent
        if current in failed:
            return f"it stands on {current}, which failed"
    return "the run ended before it"
