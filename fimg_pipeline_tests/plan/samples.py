"""Inputs for plans, made by hand: a source, an engine, recipe digests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.plan.model import EngineState, Plan, Planned, PlannedImage, StoredImage
from fimg_pipeline.settings import Settings, load
from fimg_pipeline.source.model import PackagePart, PackageSource, RepositorySnapshot, SourceSnapshot


def make_settings(features: Iterable[Feature] = (), **environ: str) -> Settings:
    switches = {feature.variable: "1" if feature in set(features) else "0" for feature in Feature}
    return load(environ={**switches, "TAG": "t", **environ}, directory=Path("/nonexistent"))


def make_source(**contents: str) -> SourceSnapshot:
    """A source whose package contents are their names, except those given."""
    fate = RepositorySnapshot("fate", "v1.11.2", "c" * 40, "a" * 40)
    return SourceSnapshot(
        fate=fate,
        fate_env={"FATE": "1.11.2", "SPARK": "3.4.0"},
        requirements_date="2023-06-02",
        repositories={"fate": fate},
        packages={
            name: PackageSource(name, contents.get(name, name), (PackagePart("b" * 40, name),)) for name in PACKAGES
        },
    )


def digest(path: str) -> str:
    return f"digest of {path}"


def engine_with(
    *planned: Planned, platforms: Iterable[Platform] = ("amd64", "arm64"), named: bool = True
) -> EngineState:
    """An engine that has all external bases and the given results; ``named``: under their people's names too."""
    bases = [
        StoredImage(f"sha256:{base.name}-{platform}", frozenset({base.local_reference(platform)}))
        for base in BASES.values()
        for platform in platforms
    ]
    made = [
        StoredImage(
            f"sha256:{item.fingerprint}",
            frozenset({item.stage, *(item.names if named and isinstance(item, PlannedImage) else ())}),
            item.fingerprint,
            item.platform,
            item.inputs,
        )
        for item in planned
    ]
    return EngineState("amd64", (*bases, *made))


def everything(plan: Plan) -> tuple[Planned, ...]:
    return (*plan.packages, *plan.images)
