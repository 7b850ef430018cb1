"""Tells people what broke and what works again, by the services that ``NOTIFY_URLS`` names; off without it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Final

import dagster as dg
from pydantic import ValidationError

from fimg_pipeline.assets.keys import asset_name
from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.broken import Broken, Finished, Message, State, after
from fimg_pipeline.automation.deliveries import is_made, items, lists_are_made
from fimg_pipeline.automation.jobs import BUNDLE, PUBLISH, REGISTER
from fimg_pipeline.automation.overview import problems
from fimg_pipeline.automation.prune_job import PRUNE
from fimg_pipeline.automation.run_requests import REQUEST, wanted_by
from fimg_pipeline.automation.sending import is_due, send, service, worth_sending
from fimg_pipeline.automation.stale import stale
from fimg_pipeline.automation.watching import Memory, Watched, in_time, survey, tags, ticked
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.selection import select
from fimg_pipeline.progress import KILLED, Event, first_line, outcomes
from fimg_pipeline.settings import Settings

#: What has been read of the instance stays with the process: another one reads it again.
_MEMORY: Final = Memory()
#: How far back runs are looked at when nothing is known: what broke a day ago and is still, people want to know.
_AT_FIRST_SECONDS: Final = 86_400.0
#: So much (seconds) clocks may differ, and go back when they are set.
_CLOCKS_DIFFER: Final = 300.0
#: So many runs are looked at at once; the rest the next time.
_AT_ONCE: Final = 200
#: What comes of each step after a build, as failures are called.
_CARRIED: Final = {
    "push": ("registry ", f"job {PUBLISH}"),
    "bundle": ("bundle ", f"job {BUNDLE}"),
    "register": ("kuscia ", f"job {REGISTER}"),
}
#: In the place of a partition, of the runs that have none. No tag is called so.
_PRUNING: Final = f"job {PRUNE}"
#: The same, of the list of the tags that are watched.
_WATCHED: Final = "the list of tags"
#: What failed, as it is called, where nobody can say what is to be built.
_UNKNOWN: Final = "what it is built from"
#: So long (seconds) messages are sent in a look, and what is broken is looked at; the rest the next time.
_SENDING: Final = 10.0


@dg.sensor(
    name="notifications",
    minimum_interval_seconds=60,
    description="Tells people when a platform's tag breaks, with the first error line and a link, and when it works "
    "again: by 'NOTIFY_URLS' (DingTalk, WeCom, Feishu, Slack, mail, webhooks …).\n\n"
    "One message each, however many runs fail in between.",
)
def notifications(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Looks at the runs that ended since the last time."""
    return ticked(lambda: _told(context, pipeline))


def _told(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    settings = pipeline.settings()
    if not settings.notify_urls:
        return dg.SkipReason("NOTIFY_URLS is not set: nobody is told")
    close_abandoned_runs(context.instance)
    state = _known(context.cursor)
    try:
        tags(settings)
    except FimgError as error:
        # Nobody can say what is watched: that is all that is told, and the runs are looked at when it is known again.
        known, runs = state, [_stuck(_WATCHED, _WATCHED, str(error))]
        broken, messages = after(state.broken, runs, settings.ui_url)
    else:
        known, runs = _ended_since(context.instance, settings, state)
        broken, messages = _looked_at(context.instance, pipeline, settings, state.broken, runs)
    services = list(map(service, settings.notify_urls))
    pending = worth_sending(state.untold, messages, broken)
    now = time.time()
    tried = send(settings.notify_urls, [message for message in pending if is_due(message, now)], _SENDING)
    sent = [message.title for message in tried if set(services) <= set(message.taken)]
    left = [each for each in tried if not set(services) <= set(each.taken)]
    left += [each for each in pending if not is_due(each, now)]
    for title in sent:
        context.log.info(f"told: {title}")
    cursor = known.model_copy(update={"broken": broken, "untold": left})
    told = f"{len(broken)} broken" + (f"; told: {', '.join(sent)}" if sent else "")
    if left:
        places = [place for place, name in enumerate(services, 1) if any(name not in each.taken for each in left)]
        told += f"; {len(left)} could not be told by number {', '.join(map(str, places))} of NOTIFY_URLS"
    return dg.SensorResult(skip_reason=told, cursor=cursor.model_dump_json())


def _looked_at(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    settings: Settings,
    known: Mapping[str, Broken],
    runs: Sequence[Finished],
) -> tuple[dict[str, Broken], list[Message]]:
    """What is broken, after ``known`` was and ``runs`` ended, and what people are to be told."""
    broken = _still_wanted(known, settings)
    stuck = problems(instance)
    counted = [_counted(run, settings) for run in runs]
    counted += [
        _stuck(where, _UNKNOWN, why)
        for where, why in (stuck or {}).items()
        if where not in broken and _is_watched(where, settings)
    ]
    settled = _settled(instance, pipeline, broken) if broken else {}
    for where in settled.keys() & (stuck or {}).keys():
        # It was looked at before that was mended: it would break at once again.
        settled[where] = [name for name in settled[where] if name != _UNKNOWN]
    if _WATCHED in broken:
        settled[_WATCHED] = list(broken[_WATCHED].failed)
    return after(broken, counted, settings.ui_url, settled)


def _known(cursor: str | None) -> State:
    if cursor:
        try:
            return State.model_validate_json(cursor)
        except ValidationError:
            # Of another version of this.
            pass
    return State(seen=time.time() - _AT_FIRST_SECONDS)


def _ended_since(instance: dg.DagsterInstance, settings: Settings, state: State) -> tuple[State, list[Finished]]:
    """``state`` with until when runs are known now, those lately before that; and those of them that are new.

    Of a clock that was ahead nobody hears less: what is of later than now is looked at when it is its time. And what
    another machine says, whose clock is behind, or that was written late, turns up before what is known already.
    """
    now, seen = time.time(), state.seen
    if seen > now + _CLOCKS_DIFFER:
        seen = now - _AT_FIRST_SECONDS
    found = instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
            updated_after=datetime.fromtimestamp(seen - _CLOCKS_DIFFER, timezone.utc),
        ),
        limit=_AT_ONCE + len(state.lately),
        order_by="update_timestamp",
        ascending=True,
    )
    found = [record for record in found if record.update_timestamp.timestamp() <= now]
    last = max((seen, *(record.update_timestamp.timestamp() for record in found)))
    lately = [each for each in found if each.update_timestamp.timestamp() > last - _CLOCKS_DIFFER]
    new = [each.dagster_run for each in found if each.dagster_run.run_id not in state.lately]
    ended = [_finished(run, settings) for run in new if "dagster/partition" in run.tags or run.job_name == PRUNE]
    ids = tuple(each.dagster_run.run_id for each in lately)
    return state.model_copy(update={"seen": last, "lately": ids}), ended


def _finished(run: dg.DagsterRun, settings: Settings) -> Finished:
    did_fail = run.status is dg.DagsterRunStatus.FAILURE
    events = outcomes(settings.home, run.run_id, failed=did_fail).events.values()
    failed = {_name(event): first_line(event.message) for event in events if event.what == "failed"}
    made = frozenset(_name(event) for event in events if event.what in ("built", "reused"))
    if did_fail and not failed and REQUEST in run.tags:
        wanted = wanted_by(settings.home, run.tags[REQUEST])
        failed = {name: KILLED for name in (each.replace("/", " ", 1) for each in wanted) if name not in made}
    return Finished(
        run_id=run.run_id,
        partition=run.tags.get("dagster/partition", _PRUNING),
        job=run.job_name,
        failed=failed,
        made=made,
        succeeded=run.status is dg.DagsterRunStatus.SUCCESS,
        commit=run.tags.get("fimg/commit", ""),
        brings=run.tags.get("fimg/brings", ""),
    )


def _stuck(partition: str, what: str, why: str) -> Finished:
    """That nothing of a partition can be built for want of ``what``, as people are told of a run."""
    return Finished("", partition, "", {what: first_line(why)}, frozenset(), succeeded=False)


def _name(event: Event) -> str:
    return event.name if event.kind == "image" else f"{event.kind} {event.name}"


def _still_wanted(broken: Mapping[str, Broken], settings: Settings) -> dict[str, Broken]:
    """What is broken, without what nobody asks for by itself any more."""
    found: dict[str, Broken] = {}
    for partition, each in broken.items():
        failed = _asked_for(partition, each.failed, settings)
        if failed:
            found[partition] = each.model_copy(update={"failed": failed})
    return found


def _counted(run: Finished, settings: Settings) -> Finished:
    """A run with those of its failures that people are told of; without any it went well, as far as they care.

    Whoever pushes by hand sees how that ends.
    """
    told = _asked_for(run.partition, run.failed or {f"job {run.job}": ""}, settings)
    failed = {name: why for name, why in told.items() if name in run.failed}
    return replace(run, failed=failed, succeeded=run.succeeded or not told)


def _is_watched(partition: str, settings: Settings) -> bool:
    """Whether it is of a tag that is watched, for a platform that is, or for all; or what no tag is."""
    if partition in (_PRUNING, _WATCHED):
        return True
    platform, _, tag = partition.rpartition("|")
    return tag in tags(settings) and platform in ("", *settings.watched_platforms)


def _asked_for(partition: str, failed: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Of what failed in a partition what the sensors and schedules ask for, as things are set now."""
    if not _is_watched(partition, settings):
        return {}
    images = {each.name for each in select(settings.features)}
    packages = {f"package {name}" for each in images for name in IMAGES[each].recipe.packages}
    carried = {kind for step, kinds in _CARRIED.items() if step in settings.deliveries for kind in kinds}
    others = {kind for kinds in _CARRIED.values() for kind in kinds} - carried
    return {
        name: why
        for name, why in failed.items()
        if not name.startswith(tuple(others))
        and (name not in IMAGES or name in images)
        and (not name.startswith("package ") or name in packages)
    }


def _settled(instance: dg.DagsterInstance, pipeline: Pipeline, broken: Mapping[str, Broken]) -> dict[str, list[str]]:
    """What of broken partitions is as it should be, by what is wanted and on record."""

    def looks_at(platforms: Sequence[Watched]) -> list[tuple[str, list[str]]]:
        found = []
        tag = platforms[0].tag
        if tag in broken and lists_are_made(_MEMORY.ledger, platforms):
            found.append((tag, list(broken[tag].failed)))
        for watched in platforms:
            where = watched.partition
            if where in broken and watched.run is None and not watched.problem:
                with suppress(FimgError):
                    found.append((where, _settled_of(watched, broken[where].failed)))
        return found

    platforms = pipeline.settings().watched_platforms
    try:
        found, _ = in_time(survey(instance, pipeline, _MEMORY, platforms), looks_at, _SENDING)
    except FimgError:
        # That nothing can be looked at keeps nobody from hearing what broke.
        return {}
    return dict(found)


def _settled_of(watched: Watched, names: Iterable[str]) -> list[str]:
    """Images and packages that are made as planned, what was carried elsewhere as it should be, and builds of all.

    Of what nobody asks for by itself (a push that somebody made) only a run tells. What could not be looked at works
    when all that was to be made of it is.
    """
    lacking = set() if watched.built_once else {*map(asset_name, stale(watched.plan, watched.records))}
    carried = {item.name for item in items(watched, lacking)[0] if is_made(item, watched.records)}
    settled = []
    for name in names:
        asset = name.replace(" ", "/", 1)
        made = name in IMAGES or name.startswith("package ")
        builds = name == _UNKNOWN or name.startswith(("job build", "job __ASSET_JOB", "source "))
        if asset not in lacking if made else not lacking if builds else asset in carried:
            settled.append(name)
    return settled
