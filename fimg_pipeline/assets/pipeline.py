"""The one resource of all assets: settings for a partition, and the plan and builder that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import dagster as dg
from pydantic import Field

from fimg_pipeline.engine.bases import newest
from fimg_pipeline.engine.builder import Builder
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.errors import EngineUnreachableError
from fimg_pipeline.engine.hub import PullFailure, registry_of, watched
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.model import EngineState, Plan
from fimg_pipeline.planning import current_plan
from fimg_pipeline.settings import Settings, load
from fimg_pipeline.source.refs import Releases
from fimg_pipeline.source.resolve import absent_refs, fate_identity, fixed_commits, origin_tags, releases
from fimg_pipeline.source.store import Remotes
from fimg_pipeline.values.names import tag_problem

#: So long (seconds) whoever only looks waits for an engine: a sensor has to answer within a minute.
_PATIENCE: Final = 15.0
#: Tag of a run: the one platform its job selects images for.
TAG_PLATFORM: Final = "fimg/platform"


def _registry(settings: Settings) -> tuple[object, ...]:
    """Where a login would go, and what would protect it on its way."""
    host = registry_of(f"{settings.prefix}/")
    return host, settings.insecure_registries, settings.registry_ca, settings.ca_bundle, settings.registry_user


@dataclass(frozen=True)
class Session:
    """One step's view: its settings, the engine, the key under which its run's source is kept."""

    settings: Settings
    engine: Engine
    source_key: str

    def plan(self, names: Sequence[str]) -> Plan:
        """The plan for the images ``names`` and everything below them, from the run's source."""
        return current_plan(self.settings, self.engine, names=names, source_key=self.source_key)

    def plan_as_built(self, names: Sequence[str]) -> Plan:
        """As :meth:`plan`, for what is only carried elsewhere."""
        return current_plan(self.settings.as_built, self.engine, names=names, source_key=self.source_key)

    @property
    def builder(self) -> Builder:
        return Builder(self.engine, self.settings)


class Pipeline(dg.ConfigurableResource):
    """Settings as the environment and ``.env`` give them, with ``overrides`` on top."""

    overrides: dict[str, str] = Field(
        default_factory=dict,
        description="Settings by the names of the build document (PREFIX, Docker_Options …) for this run only. "
        "TAG and Platform always come from the partition.",
    )

    source: str = Field(
        default="",
        pattern="^[0-9a-f]*$",
        description="Key of the source that was resolved when the run was planned; empty: resolved by the first step.",
    )

    def session(self, context: dg.AssetExecutionContext) -> Session:
        """The session for the partition that ``context`` materializes: a platform and a tag, or a tag alone."""
        if not context.has_partition_key:
            raise FimgError("the run has no partition", hint="choose one: a platform and a tag")
        key = context.partition_key
        if isinstance(key, dg.MultiPartitionKey):
            partition = key.keys_by_dimension
            meant = context.run.tags.get(TAG_PLATFORM, partition["platform"])
            if partition["platform"] != meant:
                raise FimgError(
                    f"job {context.run.job_name} builds for {meant}, and the partition is one of "
                    f"{partition['platform']}",
                    hint=f"choose a partition of {meant}, or the job build_{partition['platform']}",
                )
            chosen = {"TAG": partition["tag"], "Platform": partition["platform"]}
        else:
            chosen = {"TAG": key}
        if problem := tag_problem(chosen["TAG"]):
            raise FimgError(
                f"the partition's tag {chosen['TAG']!r} {problem}", hint="`fimg tag remove` takes the partition away"
            )
        settings = self.settings(**chosen)
        return Session(settings, Engine(settings.engine_address), self.source or context.run.run_id)

    def settings(self, **chosen: str) -> Settings:
        """The settings with those ``chosen`` by their variables' names.

        The login is for the registry that the environment names: whoever may launch a run is not to have it sent
        elsewhere by what they write into its configuration.
        """
        found, own = load({**self.overrides, **chosen}), load(chosen)
        if _registry(found) != _registry(own):
            return replace(found, registry_user=None, registry_password=None)
        return found

    def plan(self, settings: Settings, state: EngineState, remotes: Remotes) -> Plan:
        """What the switches select, from the source as it is now and an engine that holds what ``state`` says."""
        return current_plan(settings, Engine(settings.engine_address), remotes=remotes, state=state)

    def engine_state(self, address: str | None) -> EngineState:
        """What the engine at ``address``, or as the environment names it, holds now."""
        engine = Engine(address)
        try:
            return watched(lambda _: engine.state(), _PATIENCE)
        except TimeoutError:
            raise EngineUnreachableError(
                f"the Docker engine ({engine.address}) did not say within {_PATIENCE:.0f} s what it holds"
            ) from None

    def absent_refs(self, settings: Settings, refs: Iterable[str]) -> list[str]:
        """Those of ``refs`` that FATE_DIR has no commit by."""
        return absent_refs(settings, refs)

    def origin_tags(self, settings: Settings, refs: Iterable[str], remotes: Remotes) -> Mapping[str, str]:
        """Those of ``refs`` that are tags where FATE_DIR was cloned from, and the commits they are."""
        return origin_tags(settings, refs, remotes)

    def newest_bases(self, settings: Settings) -> Mapping[str, str | PullFailure]:
        """What registries have of the external bases now: reference → digest, or why that can't be said."""
        return newest(settings, Engine(settings.engine_address))

    def releases(self, settings: Settings) -> Releases:
        """FATE's releases, wherever FATE_DIR is from."""
        return releases(settings, Remotes())

    def fate_identity(self, settings: Settings) -> str:
        """Tells the FATE that FATE_DIR is of from others."""
        return fate_identity(settings)

    def fixed_commits(self, settings: Settings, refs: Iterable[str]) -> Mapping[str, str]:
        """Of ``refs`` those that don't move, as far as FATE_DIR has them, and the commits they are."""
        return fixed_commits(settings, refs)
