"""AppImages on nodes of Kuscia: those that KUSCIA_APP_IMAGES names, of images that are up to date; off without it."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import dagster as dg
from pydantic import ValidationError

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import REGISTERED, image_key, log_page
from fimg_pipeline.assets.partitions import MATRIX, known_tags
from fimg_pipeline.assets.pipeline import Pipeline, Session
from fimg_pipeline.assets.records import FINGERPRINT, delivered, passed
from fimg_pipeline.assets.source import commit_metadata
from fimg_pipeline.assets.steps import POOL, Log, step
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia import configured, templates
from fimg_pipeline.kuscia.configured import AppImage, ConfiguredError
from fimg_pipeline.kuscia.registration import Registration, RegistrationError, combined, deviations
from fimg_pipeline.kuscia.request import perform
from fimg_pipeline.plan.model import Plan
from fimg_pipeline.progress import Event, log_path, report, telling
from fimg_pipeline.settings import Settings, load
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.ship.wanted import current_images

CHECK: Final = "nodes_are_as_registered"
#: Metadata of :data:`REGISTERED`: what the check compares the nodes with.
_RECORD: Final = "registered"
#: How many registrations are looked back on.
_HISTORY: Final = 1000


@dataclass(frozen=True)
class RegistrationDefinitions:
    """What is defined where AppImages are configured; nothing elsewhere."""

    assets: Sequence[dg.AssetsDefinition] = ()
    checks: Sequence[dg.AssetChecksDefinition] = ()


def registration_assets(settings: Settings) -> RegistrationDefinitions:
    """The asset and its check, if a file of AppImages is named. Of the file it only takes which images they follow."""
    if settings.kuscia_app_images is None:
        return RegistrationDefinitions()
    try:
        images = sorted({each.image for each in configured.read(settings.kuscia_app_images)})
        problem = ""
    except ConfiguredError as error:
        # The rest of the pipeline is there without them, and a run says the same.
        images, problem = [], f"\n\n**It can't be used:** {error}"
    return RegistrationDefinitions([_asset(images, problem)], [_check])


def _asset(images: Sequence[str], problem: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=REGISTERED,
        deps=[image_key(name) for name in images],
        partitions_def=MATRIX,
        group_name=group("kuscia"),
        kinds={"kubernetes"},
        owners=["team:kuscia"],
        code_version="1",
        pool=POOL,
        description="The AppImages of `KUSCIA_APP_IMAGES`: first every node has the image, then every API server the "
        f"AppImage. What is there already stays.{problem}",
    )
    def app_images(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        started = time.monotonic()
        with step(context, pipeline, "kuscia", "app_images") as (session, log):
            settings, run_id = session.settings, context.run.run_id
            say = telling(log, settings.home, run_id, "kuscia", "app_images")
            wanted = _wanted(settings)
            plan = session.plan_as_built(sorted({each.image for each in wanted}))
            registered, problems = _register(context.instance, session, plan, wanted, say)
            if problems:
                if registered:
                    # What was done is so, and the check is to know it.
                    told = _told(registered)
                    context.log_event(dg.AssetObservation(REGISTERED, partition=context.partition_key, metadata=told))
                raise combined(problems)
            seconds = time.monotonic() - started
            report(settings.home, run_id, Event("kuscia", "app_images", "built", seconds))
            return dg.MaterializeResult(
                data_version=dg.DataVersion(_version(list(registered.values()))),
                tags={
                    FINGERPRINT: registered_fingerprint(
                        wanted, {each.name: each.fingerprint for each in plan.images}, settings.prefix
                    )
                },
                metadata={
                    **_told(registered),
                    "commit": commit_metadata(plan.source.fate),
                    "seconds": round(seconds, 1),
                    "log": dg.MetadataValue.url(log_page(run_id, REGISTERED)),
                    "log file": dg.MetadataValue.path(str(log_path(settings.home, run_id, "kuscia-app_images"))),
                },
            )

    return app_images


@dg.asset_check(
    asset=REGISTERED,
    name=CHECK,
    description="Under every tag there is, every node has the image that was registered last, by its id and whole, and "
    "every API server the AppImage as it was applied. Asks the nodes; run it whenever you want to know.",
)
def _check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    try:
        path = load().kuscia_app_images
        wanted = () if path is None else configured.read(path)
    except FimgError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    engine, standing = Engine(), _standing(context.instance, wanted)
    rows, told, waiting = [], [], []
    for each, registered in zip(wanted, standing, strict=True):
        if not registered:
            waiting.append(f"{each.title} was not registered yet")
        elif not registered[0].as_now:
            waiting.append(f"{each.title} was not registered since the file says something else of it")
        for last in registered:
            found = deviations(engine, last.registration)
            told += [f"{node}: {problem}" for node, problem in found.items()]
            for node in dict.fromkeys((*last.registration.images, *last.registration.servers)):
                what = {"AppImage": last.registration.name, "node": node, "image": last.registration.reference}
                rows.append(dg.TableRecord({**what, "problem": found.get(node, "")}))
    problems = [*told, *waiting]
    return dg.AssetCheckResult(
        passed=not problems,
        # What was never there is not gone.
        severity=dg.AssetCheckSeverity.ERROR if told else dg.AssetCheckSeverity.WARN,
        description="; ".join(problems[:5]) or f"{len(wanted)} AppImages on their nodes",
        metadata={"nodes": dg.MetadataValue.table(rows)} if rows else {},
    )


def registered_fingerprint(wanted: Sequence[AppImage], images: Mapping[str, str], prefix: str) -> str:
    """What :data:`REGISTERED` records when ``wanted`` are registered, of ``images`` (name → fingerprint) and names."""
    entries = {f"entry {place}": _key(each) for place, each in enumerate(wanted)}
    return delivered({each.image: images[each.image] for each in wanted}, prefix=prefix, **entries)


def configured_for(settings: Settings) -> list[AppImage]:
    """Those of the file that are for the platform of ``settings``; :class:`ConfiguredError` if it can't be read."""
    if settings.kuscia_app_images is None:
        return []
    return [each for each in configured.read(settings.kuscia_app_images) if each.platform == settings.platform]


def _wanted(settings: Settings) -> list[AppImage]:
    wanted = configured_for(settings)
    if not wanted:
        raise ConfiguredError(f"{settings.kuscia_app_images} names no AppImage for {settings.platform}")
    return wanted


def _register(
    instance: dg.DagsterInstance, session: Session, plan: Plan, wanted: Sequence[AppImage], say: Log
) -> tuple[dict[str, Registration], list[FimgError]]:
    """All of them, as far as they go, by what the file says of them; and what did not."""
    settings = session.settings
    assert settings.kuscia_app_images is not None
    names = [each.image for each in wanted]
    found = current_images(plan, names, session.engine, lambda image: passed(instance, image, plan.tag))
    store = LayerStore(settings.home / "store")
    registered: dict[str, Registration] = {}
    problems: list[FimgError] = []
    taken: set[tuple[str, str]] = set()
    for each, image in zip(wanted, found, strict=True):
        try:
            request = each.request(image.reference, settings.kuscia_app_images.parent)
            # A name that is said may be the one another gets from its image and tag.
            places = {(server, request.app_image) for server in request.deployment.api_nodes}
            if places & taken:
                raise ConfiguredError(
                    f"{each.title}: another one is registered as {request.app_image} there", hint="give it another name"
                )
            taken |= places
            say(f"registering {image.reference} as {request.app_image}")
            held = partial(_require_platform, (session.engine, image.id), each.platform)
            registered[_key(each)] = perform(request, Engine(), store, held, say)
        except FimgError as error:
            problems.append(error)
    return registered, problems


def _require_platform(held: tuple[Engine, str], platform: Platform, nodes: Platform) -> tuple[Engine, str]:
    if nodes != platform:
        raise RegistrationError(f"the image is for {platform}, and the nodes are {nodes}")
    return held


def _key(wanted: AppImage) -> str:
    """Tells what the file says of one AppImage, its template too, from what it says of others, or said before."""
    return json.dumps([_entry(wanted), _template(wanted)])


def _entry(wanted: AppImage) -> str:
    return json.dumps(wanted.model_dump(mode="json"), sort_keys=True)


def _template(wanted: AppImage) -> str:
    """The digest of the template that is named, empty where none is (or none is there)."""
    path = load().kuscia_app_images
    if not wanted.template or path is None:
        return ""
    try:
        text = templates.find(wanted.template, path.parent).text
    except FimgError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _told(registered: Mapping[str, Registration]) -> dict[str, dg.MetadataValue[Any]]:
    """The metadata of what was done: a table for people, and what the check goes by."""
    return {
        "nodes": dg.MetadataValue.table(_rows(list(registered.values()))),
        _RECORD: dg.MetadataValue.json({key: _record(each) for key, each in registered.items()}),
    }


def _rows(registered: Sequence[Registration]) -> list[dg.TableRecord]:
    return [
        dg.TableRecord(
            {
                "AppImage": each.name,
                "node": result.node,
                "image": result.image or "",
                "result": result.app_image or "",
                "of": f"{each.reference} {each.image_id[:19]}",
            }
        )
        for each in registered
        for result in each.results
    ]


def _record(registered: Registration) -> dict[str, Any]:
    return {
        "reference": registered.reference,
        "image_id": registered.image_id,
        "document": registered.document,
        "images": list(registered.images),
        "servers": list(registered.servers),
    }


@dataclass(frozen=True)
class _Last:
    """How an AppImage was registered last. ``as_now``: the file said of it then what it says now."""

    registration: Registration
    as_now: bool


def _standing(instance: dg.DagsterInstance, wanted: Sequence[AppImage]) -> list[list[_Last]]:
    """Of each of ``wanted`` how it was registered last, the latest first: once for every AppImage that it became.

    Under the tags there are: without a name of its own it is another AppImage for each. Runs that failed at others
    leave observations of what they did.
    """
    tags = known_tags(instance)
    records = [
        *instance.fetch_materializations(REGISTERED, limit=_HISTORY).records,
        *instance.fetch_observations(REGISTERED, limit=_HISTORY).records,
    ]
    found: list[tuple[AppImage, str, Registration]] = []
    for record in sorted(records, key=lambda record: record.timestamp, reverse=True):
        made = record.asset_materialization or record.asset_observation
        if made is None or (made.partition or "").rpartition("|")[2] not in tags:
            continue
        recorded = made.metadata.get(_RECORD)
        # Somebody may have reported one by hand, or an earlier version of this another way.
        value: Any = recorded.value if isinstance(recorded, dg.JsonMetadataValue) else None
        for key, each in value.items() if isinstance(value, dict) else ():
            with suppress(ValidationError, TypeError, ValueError):
                entry, template = json.loads(key)
                found.append((AppImage.model_validate_json(entry), template, Registration(**each)))
    standing: list[list[_Last]] = []
    for each in wanted:
        by_name: dict[str, _Last] = {}
        for entry, template, registered in found:
            if each.is_of(entry, registered.name):
                as_now = (_entry(entry), template) == (_entry(each), _template(each))
                by_name.setdefault(registered.name, _Last(registered, as_now))
        standing.append(list(by_name.values()))
    return standing


def _version(registered: Sequence[Registration]) -> str:
    return hashlib.sha256(json.dumps([_record(each) for each in registered], sort_keys=True).encode()).hexdigest()
