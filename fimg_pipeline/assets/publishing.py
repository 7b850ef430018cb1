"""Publishing assets: what a registry has, per platform and tag, and the list over all platforms per tag."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from fimg_pipeline.assets.groups import group
from fimg_pipeline.assets.keys import LISTS, PUBLISHED, image_key, log_page
from fimg_pipeline.assets.partitions import MATRIX, TAGS, partition_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.records import FINGERPRINT, delivered, latest, passed, recorded
from fimg_pipeline.assets.source import commit_metadata
from fimg_pipeline.assets.steps import POOL, step, verdict
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.plan.model import Plan
from fimg_pipeline.progress import Event, What, log_path, report, telling
from fimg_pipeline.ship.collect import collect
from fimg_pipeline.ship.destination import Destination, destination
from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline.ship.lists import put_list, with_those_of_others
from fimg_pipeline.ship.push import missing, platform_tag, publication, push
from fimg_pipeline.ship.wanted import fate_images

GATE: Final = "registry_has_every_digest"
#: Metadata of :data:`PUBLISHED`: by image, the digest that the registry has, and the fingerprint of what was pushed.
DIGESTS: Final = "digests"
#: Metadata of it: where to.
PREFIX: Final = "prefix"
#: How many pushes of a platform and tag are looked back on.
_HISTORY: Final = 1000


@dg.asset(
    key=PUBLISHED,
    deps=[image_key(image.name) for image in IMAGES.values() if image.published],
    partitions_def=MATRIX,
    group_name=group("registry"),
    kinds={"docker"},
    owners=["team:fate-release"],
    code_version="1",
    pool=POOL,
    check_specs=[
        dg.AssetCheckSpec(
            GATE,
            asset=PUBLISHED,
            blocking=True,
            description="Every manifest is in the registry by its digest, and every layer it names by digest and size.",
        )
    ],
    # What can pass is tried again by the registry's client; a run after a failure sends the rest.
    description="FATE's images in the registry, each for its platform, where parties pull them from.\n\n"
    "Those the switches select and that are published, in the registry of `PREFIX` as `TAG-PLATFORM`. All have to be "
    "up to date; what the registry has is not sent.",
)
def published_images(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Iterator[dg.MaterializeResult[Any]]:
    """Pushes, and looks whether everything is there."""
    started = time.monotonic()
    with step(context, pipeline, "registry", "images") as (session, log):
        settings, run_id = session.settings, context.run.run_id
        say = telling(log, settings.home, run_id, "registry", "images")
        plan = session.plan_as_built(())
        locked = fate_images(plan, session.engine, lambda image: passed(context.instance, image, plan.tag))
        place = destination(settings, say)
        store = LayerStore(settings.home / "store")
        parts = collect(session.engine, store, [image.id for image in locked], say)
        publications = [
            publication(name, parts[image.id], store) for name, image in zip(plan.push, locked, strict=True)
        ]
        tag = platform_tag(plan.tag, plan.platform)
        sent = push(place, tag, publications, say)
        wrong = missing(place, tag, publications)
        told = [line for lines in wrong.values() for line in lines]
        # Lists are made of what is there.
        pushed = {
            each.name: {"digest": each.digest, "fingerprint": image.fingerprint}
            for each, image in zip(publications, locked, strict=True)
            if each.name not in wrong
        }
        seconds = time.monotonic() - started
        reused = sent.present == len(publications)
        description = "; ".join(told[:5]) if told else f"{len(publications)} images, every layer of them"
        what: What = "failed" if told else "reused" if reused else "built"
        report(settings.home, run_id, Event("registry", "images", what, seconds, description if told else ""))
        result: dg.MaterializeResult[Any] = dg.MaterializeResult(
            data_version=dg.DataVersion(_version({each.name: each.digest for each in publications})),
            # What did not get there whole is not on record as delivered.
            tags={} if wrong else {FINGERPRINT: pushed_fingerprint(_fingerprints(plan), settings.prefix)},
            metadata={
                "result": "reused: all were there" if reused else "pushed",
                "registry": place.registry.host,
                PREFIX: settings.prefix,
                "tag": tag,
                "commit": commit_metadata(plan.source.fate),
                "images": len(publications),
                "in the registry": _linked(place, {name: str(each["digest"]) for name, each in pushed.items()}),
                "sent_mb": round(sent.size / 1e6, 1),
                "layers sent": sent.blobs,
                "layers shared": sent.mounted,
                DIGESTS: dg.MetadataValue.json(pushed),
                "seconds": round(seconds, 1),
                "log": dg.MetadataValue.url(log_page(run_id, PUBLISHED)),
                "log file": dg.MetadataValue.path(str(log_path(settings.home, run_id, "registry-images"))),
            },
            check_results=[dg.AssetCheckResult(passed=not wrong, check_name=GATE, description=description)],
        )
    yield from verdict(result)


@dg.asset(
    key=LISTS,
    deps=[PUBLISHED],
    partitions_def=TAGS,
    group_name=group("registry"),
    kinds={"docker"},
    owners=["team:fate-release"],
    code_version="1",
    description="One name for every image on all platforms: engines take from the list what is theirs.\n\n"
    "`TAG`, written only when each of them is in the registry as it was pushed.",
)
def manifest_lists(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Writes the lists of a tag."""
    started = time.monotonic()
    with step(context, pipeline, "registry", "lists") as (session, log):
        settings, run_id = session.settings, context.run.run_id
        say = telling(log, settings.home, run_id, "registry", "lists")
        known = published(context.instance, settings.prefix, settings.tag)
        if known.waiting:
            raise ShipError(
                f"not every platform of {settings.tag} is in the registry: {'; '.join(known.waiting)}",
                hint="push them: fimg push --platform PLATFORM",
            )
        place = destination(settings, say)
        digests: dict[str, str] = {}
        every = {
            name: with_those_of_others(place, name, settings.tag, platforms, say)
            for name, platforms in known.digests.items()
        }
        for name, platforms in every.items():
            digests[name] = put_list(place, name, settings.tag, platforms)
            log(f"{place.repository(name)}:{settings.tag} is {', '.join(platforms)}: {digests[name]}")
        seconds = time.monotonic() - started
        report(settings.home, run_id, Event("registry", "lists", "built", seconds))
        rows = [
            dg.TableRecord({"image": name, "platforms": ", ".join(every[name]), "digest": digest})
            for name, digest in digests.items()
        ]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(_version(digests)),
            tags={FINGERPRINT: listed_fingerprint(_pushed_fingerprints(context.instance, settings.tag))},
            metadata={
                "registry": place.registry.host,
                "images": len(digests),
                "lists": dg.MetadataValue.table(rows),
                "in the registry": _linked(place, digests),
                "seconds": round(seconds, 1),
                "log": dg.MetadataValue.url(log_page(run_id, LISTS)),
            },
        )


def pushed_fingerprint(images: Mapping[str, str], prefix: str) -> str:
    """What :data:`PUBLISHED` records when the registry below ``prefix`` has ``images`` (name → fingerprint)."""
    return delivered(images, prefix=prefix)


def listed_fingerprint(pushed: Mapping[Platform, str]) -> str:
    """What :data:`LISTS` records for a tag, by what was pushed of it for each platform."""
    return delivered({str(platform): value for platform, value in pushed.items()})


def _fingerprints(plan: Plan) -> dict[str, str]:
    return {name: plan.image(name).fingerprint for name in plan.push}


def _pushed_fingerprints(instance: dg.DagsterInstance, tag: str) -> dict[Platform, str]:
    found = {platform: latest(instance, PUBLISHED, platform, tag) for platform in PLATFORMS}
    return {platform: (made.tags or {}).get(FINGERPRINT, "") for platform, made in found.items() if made is not None}


@dataclass(frozen=True)
class Known:
    """What of a tag was pushed: digests by image and platform; ``waiting``: what was built and not pushed."""

    digests: Mapping[str, Mapping[Platform, str]]
    waiting: tuple[str, ...]


def published(instance: dg.DagsterInstance, prefix: str, tag: str) -> Known:
    """What the instance knows of a tag below ``prefix``; :class:`ShipError` when nothing of it was pushed there."""
    pushed = {platform: _pushed(instance, platform, prefix, tag) for platform in PLATFORMS}
    names = [name for name in IMAGES if any(name in found for found in pushed.values())]
    if not names:
        raise ShipError(f"nothing of {tag} was pushed to {prefix} yet", hint="fimg push")
    digests: dict[str, dict[Platform, str]] = {}
    waiting: list[str] = []
    for name in names:
        for platform, found in pushed.items():
            built = recorded(instance, image_key(name), platform, tag)
            if name not in found:
                waiting += [f"{name} was built for {platform}"] if built else []
            elif built != found[name]["fingerprint"]:
                waiting.append(f"{name} was built for {platform} again since it was pushed")
            else:
                digests.setdefault(name, {})[platform] = found[name]["digest"]
    return Known(digests, tuple(waiting))


def _pushed(instance: dg.DagsterInstance, platform: Platform, prefix: str, tag: str) -> dict[str, dict[str, str]]:
    """By image, what its last push came to: one push may be of fewer images than another."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=PUBLISHED, asset_partitions=[partition_key(platform, tag)]), limit=_HISTORY
    ).records
    found: dict[str, dict[str, str]] = {}
    for record in reversed(records):
        made = record.asset_materialization
        # Earlier versions did not write down where to; what they pushed is pushed again, which costs a look.
        where = None if made is None else made.metadata.get(PREFIX)
        if made is not None and where is not None and where.value == prefix:
            value: Any = made.metadata[DIGESTS].value
            found |= value
    return found


def _linked(place: Destination, digests: Mapping[str, str]) -> dg.MetadataValue[Any]:
    """A line for each image, which leads to what the registry says of it."""
    return dg.MetadataValue.md("\n".join(f"- [{name}]({place.page(name)}) `{digests[name]}`" for name in digests))


def _version(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


PUBLISHING_ASSETS: Final = [published_images, manifest_lists]
