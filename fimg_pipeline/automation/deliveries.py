"""What follows a build by itself: pushing, the tag's lists, bundles, AppImages, as ``AFTER_BUILD`` says.

Levels again: it looks at what was carried elsewhere and whether that is what there is now. What fails keeps what needs
it waiting, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import dagster as dg

from fimg_pipeline.assets.bundles import bundled_fingerprint
from fimg_pipeline.assets.keys import LISTS, PUBLISHED, REGISTERED, asset_name, bundle_key
from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.partitions import add_tag, partition_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.assets.publishing import listed_fingerprint, published, pushed_fingerprint
from fimg_pipeline.assets.registration import configured_for, registered_fingerprint
from fimg_pipeline.automation.claims import claimed
from fimg_pipeline.automation.jobs import BUNDLE, PUBLISH, PUBLISH_LISTS, REGISTER
from fimg_pipeline.automation.ledger import Ledger
from fimg_pipeline.automation.run_requests import attempts, left_alone, request
from fimg_pipeline.automation.stale import Item, Record, decide, stale
from fimg_pipeline.automation.stale import items as builds
from fimg_pipeline.automation.watching import Memory, Watched, in_time, said, survey, tags, ticked, unfinished
from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.configured import AppImage
from fimg_pipeline.ship.folder import BUNDLES, FATE

_PUSHED: Final = "/".join(PUBLISHED.path)
_LISTED: Final = "/".join(LISTS.path)
_REGISTERED: Final = "/".join(REGISTERED.path)
#: What each job makes of it; a run each, so that one which fails does not keep the others from their ends.
JOBS: Final = {
    PUBLISH: frozenset({_PUSHED}),
    BUNDLE: frozenset("/".join(bundle_key(name).path) for name in BUNDLES),
    REGISTER: frozenset({_REGISTERED}),
}
#: All jobs that are asked for.
DELIVERING: Final = (*JOBS, PUBLISH_LISTS)

#: What has been read of the instance stays with the process: another one reads it again.
_MEMORY: Final = Memory()


@dataclass(frozen=True)
class Delivery:
    """What a tag needs, for a platform or (lists) for all: runs, or none, with a line that says why."""

    told: str
    requests: tuple[dg.RunRequest, ...] = ()


def deliveries(
    instance: dg.DagsterInstance, platforms: Sequence[Watched], ledger: Ledger, busy: Collection[str], now: float
) -> list[Delivery]:
    """Looks at a watched tag, all of its platforms; ``now`` in seconds since 1970.

    ``busy``: partitions for which a run waits or is under way.
    """
    found = [_of_platform(instance, each, now) for each in platforms]
    if "push" in platforms[0].settings.deliveries:
        under_way = platforms[0].tag in busy or any(each.run is not None for each in platforms)
        found.append(_of_tag(instance, platforms, ledger, under_way=under_way, now=now))
    return found


def items(watched: Watched, unbuilt: Collection[str]) -> tuple[list[Item], list[str]]:
    """All that ``AFTER_BUILD`` asks for of what was built, and of the rest why not.

    ``unbuilt``: what is to be built first, by the keys of assets as text. Only what needs it waits for it.
    """
    settings = watched.settings
    found: list[Item] = []
    why: list[str] = []

    def add(name: str, needs: Collection[str], made_of: Callable[[dict[str, str]], str]) -> None:
        if lacking := [image for image in needs if image in unbuilt]:
            why.append(f"{name} waits for {', '.join(lacking)}")
        else:
            found.append(Item(name, made_of({image: watched.records[image].fingerprint for image in needs})))

    if "push" in settings.deliveries:
        add(_PUSHED, watched.published, lambda images: pushed_fingerprint(images, settings.prefix))
    if "bundle" in settings.deliveries:
        for name in BUNDLES:
            needs = watched.published if name == FATE else []
            add("/".join(bundle_key(name).path), needs, partial(bundled_fingerprint, name, settings=settings))
    if "register" in settings.deliveries:
        try:
            wanted = _to_register(watched)
        except FimgError as error:
            why.append(f"{_REGISTERED} can't be made: {error.message}")
        else:
            if wanted:
                of = [each.image for each in wanted]
                add(_REGISTERED, of, lambda images: registered_fingerprint(wanted, images, settings.prefix))
    return found, why


def _to_register(watched: Watched) -> Sequence[AppImage]:
    wanted = configured_for(watched.settings)
    lacking = sorted({each.image for each in wanted} - set(watched.selected))
    if lacking:
        raise FimgError(f"KUSCIA_APP_IMAGES names {', '.join(lacking)}, which the switches don't select")
    return wanted


def _of_platform(instance: dg.DagsterInstance, watched: Watched, now: float) -> Delivery:
    where = f"{watched.tag} for {watched.platform}: "
    try:
        why = _why_not_yet(watched)
        if why is not None:
            return Delivery(where + why)
        unbuilt = _unbuilt(watched)
        if coming := _coming(instance, watched, unbuilt, now):
            return Delivery(f"{where}{coming} to be built first")
        all_of_it, held_up = items(watched, {item.name for item in unbuilt})
        lacking = [item for item in all_of_it if not is_made(item, watched.records)]
        decision = decide(lacking, watched.records, attempts(instance, watched, lacking, now), now, for_ever=True)
        held_up += [f"{name} {reason}" for name, reason in decision.waiting.items()]
        to_carry = decision.wanted
        if to_carry and watched.built_once and (outdated := _outdated(watched)):
            # A release is not built anew by itself, and nothing else than what a build would give is carried elsewhere.
            free = {item.name for item in items(watched, outdated)[0]}
            to_carry = {name: value for name, value in to_carry.items() if name in free}
            held_up.append(f"{len(outdated)} would be made otherwise by now, or are gone: build it by hand first")
        if not to_carry:
            return Delivery(where + ("; ".join(held_up) or "all is where it belongs"))
        asked = [
            request(watched, wanted, [dg.AssetKey(name.split("/")) for name in wanted], job=job)
            for job, made in JOBS.items()
            if (wanted := {name: value for name, value in to_carry.items() if name in made})
        ]
    except FimgError as error:
        return Delivery(f"{where}can't be carried elsewhere: {error.message}")
    told = "; ".join([f"to be made: {', '.join(to_carry)}", *held_up])
    return Delivery(where + told, tuple(asked))


def _why_not_yet(watched: Watched) -> str | None:
    if watched.problem is not None:
        return f"can't be looked at: {watched.problem.message}"
    if watched.run is not None:
        return "a run is under way"
    if watched.built_once:
        return None
    return left_alone(watched) if watched.plan.source.dirty else None


def _unbuilt(watched: Watched) -> list[Item]:
    """What is to be built first."""
    return [] if watched.built_once else builds(stale(watched.plan, watched.records))


def _outdated(watched: Watched) -> set[str]:
    """What of a release a build would make otherwise by now, or again; it keeps the names it was built with."""
    by_any_name = {name: replace(record, reference="") for name, record in watched.records.items()}
    return {*map(asset_name, stale(watched.plan, by_any_name))}


def _coming(instance: dg.DagsterInstance, watched: Watched, unbuilt: Sequence[Item], now: float) -> int:
    """How much of it is asked for now: builds go first, what failed holds up only what needs it."""
    return len(decide(unbuilt, watched.records, attempts(instance, watched, unbuilt, now), now).wanted)


def is_made(item: Item, records: Mapping[str, Record]) -> bool:
    """Whether it is on record as it is wanted."""
    return item.name in records and records[item.name].fingerprint == item.fingerprint


def _is_pushed(watched: Watched) -> bool:
    """Whether what there is was pushed."""
    try:
        if _why_not_yet(watched) is not None:
            return False
        found, _ = items(watched, {item.name for item in _unbuilt(watched)})
    except FimgError:
        return False
    return any(item.name == _PUSHED and is_made(item, watched.records) for item in found)


def _of_tag(
    instance: dg.DagsterInstance, platforms: Sequence[Watched], ledger: Ledger, *, under_way: bool, now: float
) -> Delivery:
    first = platforms[0]
    where = f"{first.tag}, its lists: "
    lacking = [each.platform for each in platforms if not _is_pushed(each)]
    if lacking:
        return Delivery(f"{where}wait for {', '.join(lacking)} to be pushed")
    if under_way:
        return Delivery(f"{where}a run is under way")
    item, records = _lists(ledger, first.tag), ledger.records(first.tag)
    if is_made(item, records):
        return Delivery(f"{where}in the registry")
    try:
        # Also of platforms that nobody watches here: what was pushed of them is on the lists, what was built has to be.
        if waiting := published(instance, first.settings.prefix, first.tag).waiting:
            return Delivery(f"{where}wait for `fimg push`: {'; '.join(waiting)}")
        tried = attempts(instance, first, [item], now, partition=first.tag, records=records)
        decision = decide([item], records, tried, now, for_ever=True)
        if not decision.wanted:
            return Delivery(f"{where}{decision.waiting[_LISTED]}")
        asked = request(first, decision.wanted, [LISTS], job=PUBLISH_LISTS, partition=first.tag)
        return Delivery(f"{where}to be made", (asked,))
    except FimgError as error:
        return Delivery(f"{where}can't be made: {error.message}")


def _lists(ledger: Ledger, tag: str) -> Item:
    """The lists of a tag over all platforms of which something was pushed."""
    by_platform = {platform: ledger.records(str(partition_key(platform, tag))) for platform in PLATFORMS}
    pushed = {platform: found[_PUSHED].fingerprint for platform, found in by_platform.items() if _PUSHED in found}
    return Item(_LISTED, listed_fingerprint(pushed))


def lists_are_made(ledger: Ledger, platforms: Sequence[Watched]) -> bool:
    """Whether the lists of a tag are of what there is now, all of it pushed."""
    tag = platforms[0].tag
    return all(map(_is_pushed, platforms)) and is_made(_lists(ledger, tag), ledger.records(tag))


def delivery_sensor(jobs: Sequence[dg.UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """The sensor, which asks for runs of those of ``jobs`` that carry something elsewhere."""

    @dg.sensor(
        name="deliveries",
        jobs=[job for job in jobs if job.name in DELIVERING],
        minimum_interval_seconds=60,
        description="Carries elsewhere what was built, as 'AFTER_BUILD' says: pushes it, and the tag's lists once "
        "every platform is pushed; writes bundles; registers AppImages.\n\n"
        "Each once all it is of is built and passed its checks: what is pushed, and FATE's bundle, are whole. What "
        "fails is tried again, in the end once a day; what does not need it goes on.",
    )
    def carry(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
        return ticked(lambda: carried(context, pipeline))

    def carried(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
        now = pipeline.settings()
        if not now.deliveries:
            return dg.SkipReason("AFTER_BUILD is not set: nothing is carried elsewhere")
        close_abandoned_runs(context.instance)
        for tag in tags(now):
            add_tag(context.instance, tag)
        busy, at = unfinished(context.instance), time.time()
        watched = survey(context.instance, pipeline, _MEMORY, now.watched_platforms, first=context.cursor or "")
        found, left = in_time(
            watched, lambda platforms: deliveries(context.instance, platforms, _MEMORY.ledger, busy, at)
        )
        asked = [request for each in found for request in each.requests]
        requests = claimed(context.instance, now.home, "deliveries", asked, time.time())
        told = [each.told for each in found]
        if requests:
            for line in told:
                context.log.info(line)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else said(told, left),
            cursor=left,
        )

    return carry
