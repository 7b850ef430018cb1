"""A pipeline whose settings and source are real and whose engine is made by hand, for what looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from fimg_pipeline import freshness
from fimg_pipeline.assets.keys import SOURCE, planned_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import COMMIT, FINGERPRINT, ORIGIN
from fimg_pipeline.automation.run_requests import Look, look
from fimg_pipeline.automation.watching import Memory, Watched, survey
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.engine.hub import PullFailure
from fimg_pipeline.plan.model import EngineState, Plan, Planned, PlannedImage, PlannedPackage
from fimg_pipeline.plan.planner import make_plan, needed_packages
from fimg_pipeline.plan.selection import select
from fimg_pipeline.progress import Event, report
from fimg_pipeline.sample import SampleSource
from fimg_pipeline.settings import Settings, load
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.source.store import Remotes
from fimg_pipeline_tests.plan.samples import digest, engine_with
from fimg_pipeline_tests.rig.command import switches

NOW = 4_000_000_000.0
DAY = 86_400.0


def environ_of(sample: SampleSource, folder: Path, **more: str) -> dict[str, str]:
    """Settings with the images for Spark, tag ``t`` and a state folder of their own."""
    own = {"FATE_DIR": str(sample.fate), "FIMG_HOME": str(folder / "home"), "TAG": "t"}
    return {**switches(Feature.SPARK), **own, **more}


@dataclass
class Handmade:
    """The sensor's pipeline: settings and source as they are, and an engine that has what ``made`` says."""

    folder: Path
    environ: dict[str, str]
    instance: dg.DagsterInstance
    made: list[Planned] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    registries: Mapping[str, str | PullFailure] = field(default_factory=dict)

    def settings(self, **chosen: str) -> Settings:
        return load(chosen, environ=self.environ, directory=self.folder)

    def fixed_commits(self, settings: Settings, refs: Sequence[str]) -> Mapping[str, str]:
        return Pipeline().fixed_commits(settings, refs)

    def engine_state(self, address: str | None = None) -> EngineState:
        return engine_with(*self.made)

    def absent_refs(self, settings: Settings, refs: Sequence[str]) -> list[str]:
        return Pipeline().absent_refs(settings, refs)

    def origin_tags(self, settings: Settings, refs: Sequence[str], remotes: Remotes) -> Mapping[str, str]:
        return Pipeline().origin_tags(settings, refs, remotes)

    def newest_bases(self, settings: Settings) -> Mapping[str, str | PullFailure]:
        return self.registries

    def plan(self, settings: Settings, state: EngineState | None = None, remotes: Remotes | None = None) -> Plan:
        packages = needed_packages(select(settings.features), settings.platform)
        source, new = resolve(settings, packages, remotes=remotes), freshness.read(settings.home)
        return make_plan(settings, source, state or self.engine_state(), digest, freshness=new)

    def look(self, now: float = NOW) -> dict[str, Look]:
        """What is found, by tag."""
        return {each.tag: look(self.instance, each, now) for each in self.survey()}

    def survey(self) -> list[Watched]:
        """What is watched, for the platforms of the settings."""
        pipeline: Any = self
        watched = survey(self.instance, pipeline, self.memory, self.settings().watched_platforms)
        return [each for platforms in watched for each in platforms]

    def build(self, tag: str = "t", platform: str = "amd64") -> Plan:
        """Has everything of a tag made and recorded, as a run would."""
        plan = self.plan(self.settings(TAG=tag, Platform=platform))
        self.made += [*plan.packages, *plan.buildable]
        partition = partition_key(platform, tag)
        fate = plan.source.fate.commit
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(SOURCE, partition=partition, tags={COMMIT: fate})
        )
        for item in (*plan.packages, *plan.buildable):
            self.recorded(item, plan, partition)
        return plan

    def recorded(self, item: Planned, plan: Plan, partition: dg.MultiPartitionKey | None = None) -> None:
        """Has the instance know that an item of ``plan`` was made."""
        origin = {}
        if isinstance(item, PlannedPackage):
            origin = {ORIGIN: plan.source.repositories[PACKAGES[item.name].repositories[0]].commit}
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                planned_key(item),
                partition=partition or partition_key(plan.platform, plan.tag),
                tags={FINGERPRINT: item.fingerprint, COMMIT: plan.source.fate.commit, **origin},
                metadata={"reference": item.reference if isinstance(item, PlannedImage) else item.stage},
            )
        )


def selected(found: Look) -> set[str]:
    assert found.request is not None and found.request.asset_selection is not None
    return {"/".join(key.path) for key in found.request.asset_selection}


def brought(found: Look) -> str:
    assert found.request is not None
    return found.request.tags["fimg/brings"]


def run_of(
    watched: Handmade, request: dg.RunRequest, *events: Event, name: str = "build", source: bool = False
) -> None:
    """A run that was asked for and fails, after its steps have said so; ``source``: which it had recorded."""

    @dg.op
    def work(context) -> None:  # type: ignore[no-untyped-def]  # Dagster wants its own type or none
        for event in events:
            report(watched.settings().home, context.run_id, event)
        if source:
            commit = watched.plan(watched.settings()).source.fate.commit
            context.log_event(
                dg.AssetMaterialization(SOURCE, partition=str(request.partition_key), tags={COMMIT: commit})
            )
        raise RuntimeError("it failed")

    @dg.job(name=name)
    def job() -> None:
        work()

    tags = {**request.tags, "dagster/partition": str(request.partition_key)}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job.execute_in_process(instance=watched.instance, tags=tags, raise_on_error=False, run_config=quiet)
