"""Putting a plan together from the world: source, engine and recipes read once, then decided purely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fimg_pipeline import freshness
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.dockerfiles import recipe_digest
from fimg_pipeline.engine.bases import ensure_base
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.context import ContextFile
from fimg_pipeline.engine.errors import EngineUnreachableError
from fimg_pipeline.plan.model import EngineState, Plan, PlannedPackage
from fimg_pipeline.plan.planner import make_plan, needed_packages, plan_package
from fimg_pipeline.plan.selection import Verb, require_buildable, select
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.content import package_files
from fimg_pipeline.source.model import SourceSnapshot
from fimg_pipeline.source.pins import resolve_once
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.source.store import Remotes


def current_plan(
    settings: Settings,
    engine: Engine,
    *,
    verb: Verb = Verb.ALL,
    names: Sequence[str] = (),
    source_key: str | None = None,
    without_engine: bool = False,
    remotes: Remotes | None = None,
    state: EngineState | None = None,
) -> Plan:
    """The plan for ``settings`` as source and engine are now.

    ``source_key``: with the source as whoever used that key first saw it (a run, and the plan it was made for).

    ``without_engine``: where no engine answers, plan as if one were there and empty, and say so.

    ``remotes``: by whoever only looks, where no ``source_key`` is; ``state``: what the engine holds, where that was
    just asked.
    """
    selection = select(settings.features, verb, names)
    # Before source and engine are asked: nothing they say would change it.
    require_buildable(names, settings.platform)
    packages = needed_packages(selection, settings.platform)
    source = (
        resolve(settings, packages, remotes=remotes)
        if source_key is None
        else resolve_once(settings, packages, source_key)
    )
    new = freshness.read(settings.home)
    try:
        state = state or engine.state()
    except EngineUnreachableError as error:
        if not without_engine:
            raise
        nothing = EngineState(settings.platform)
        plan = make_plan(settings, source, nothing, recipe_digest, verb=verb, names=names, freshness=new)
        return replace(plan, warnings=(*plan.warnings, f"{error.message}: everything counts as not built yet"))
    return make_plan(settings, source, state, recipe_digest, verb=verb, names=names, freshness=new)


def plan_with_bases(
    settings: Settings,
    engine: Engine,
    *,
    verb: Verb,
    names: Sequence[str],
    source_key: str,
    log: Callable[[str], None],
) -> Plan:
    """The plan once the external bases it stands on are on the engine: what they are is part of every fingerprint."""
    plan = current_plan(settings, engine, verb=verb, names=names, source_key=source_key)
    present = engine.state().by_reference
    lacking = [
        item
        for item in (*plan.packages, *plan.buildable)
        if any(name.startswith("BASE_") and value not in present for name, value in item.build_args.items())
    ]
    if not lacking:
        return plan
    for item in lacking:
        ensure_recipe_bases(settings, engine, item.recipe, item.platform, log)
    return current_plan(settings, engine, verb=verb, names=names, source_key=source_key)


def package_plan(
    settings: Settings, engine: Engine, name: str, source_key: str
) -> tuple[PlannedPackage, SourceSnapshot]:
    """One package as it has to be, and the source it is made from."""
    source = resolve_once(settings, (name,), source_key)
    new = freshness.read(settings.home)
    return plan_package(settings, source, engine.state(), recipe_digest, name, freshness=new), source


def ensure_recipe_bases(
    settings: Settings, engine: Engine, recipe: str, platform: Platform, log: Callable[[str], None]
) -> None:
    """Makes sure of the external bases ``recipe`` stands on; what they are is part of its fingerprint."""
    for name in RECIPES[recipe].bases:
        base = BASES[name]
        ensure_base(base, engine.platform if base.build_only else platform, settings, engine, log=log)


def context_files(home: Path, planned: PlannedPackage, source: SourceSnapshot) -> Iterator[ContextFile]:
    """The files of a package in its build context: below ``src/``."""
    for file in package_files(home, planned.source, source.object_directories):
        link = file.data.decode("utf-8", "surrogateescape") if file.symlink else None
        yield ContextFile(f"src/{file.path}", b"" if file.symlink else file.data, file.executable, link)
