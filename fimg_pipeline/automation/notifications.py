"""Tells people what broke and what works again, by the services that ``NOTIFY_URLS`` names; off without it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Final

import dagster as dg
from pydantic import ValidationError

from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.broken import Broken, Finished, Message, State, after
from fimg_pipeline.automation.checkup import UNKNOWN, Checkup, checkups
from fimg_pipeline.automation.jobs import BUNDLE, PUBLISH, REGISTER
from fimg_pipeline.automation.prune_job import PRUNE
from fimg_pipeline.automation.run_requests import REQUEST, wanted_by
from fimg_pipeline.automation.sending import is_due, send, service, worth_sending
from fimg_pipeline.automation.watching import Memory, tags, ticked
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
#: So long (seconds) what should pass by itself is left to itself: a night's maintenance tells nobody.
_LONG: Final = 3 * 3600.0
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
        broken, messages = after(state.broken, [_stuck(_WATCHED, _WATCHED, str(error))], settings.ui_url)
        state = state.model_copy(update={"broken": broken})
    else:
        state, runs = _ended_since(context.instance, settings, state)
        state, messages = _looked_at(context.instance, pipeline, settings, state, runs)
    services = list(map(service, settings.notify_urls))
    pending = worth_sending(state.untold, messages, state.broken)
    now = time.time()
    tried = send(settings.notify_urls, [message for message in pending if is_due(message, now)], _SENDING)
    sent = [message.title for message in tried if set(services) <= set(message.taken)]
    left = [each for each in tried if not set(services) <= set(each.taken)]
    left += [each for each in pending if not is_due(each, now)]
    for title in sent:
        context.log.info(f"told: {title}")
    cursor = state.model_copy(update={"untold": left})
    told = f"{len(state.broken)} broken" + (f"; told: {', '.join(sent)}" if sent else "")
    if left:
        places = [place for place, name in enumerate(services, 1) if any(name not in each.taken for each in left)]
        told += f"; {len(left)} could not be told by number {', '.join(map(str, places))} of NOTIFY_URLS"
    return dg.SensorResult(skip_reason=told, cursor=cursor.model_dump_json())


def _looked_at(
    instance: dg.DagsterInstance, pipeline: Pipeline, settings: Settings, state: State, runs: Sequence[Finished]
) -> tuple[State, list[Message]]:
    """``state`` with what is broken after ``runs`` ended, and what people are to be told."""
    broken = _still_wanted(state.broken, settings)
    counted = [_counted(run, settings) for run in runs]
    try:
        found, left = checkups(instance, pipeline, _MEMORY, broken, _SENDING, first=state.next)
    except FimgError:
        # That nothing can be looked at keeps nobody from hearing what broke.
        found, left = [], state.next
    silent = _silent(state.silent, found, settings)
    # One cause is not told under two names, and of what broke otherwise meanwhile not that it works.
    told = broken.keys() - {run.partition for run in counted} | {run.partition for run in counted if run.failed}
    counted += [
        _stuck(each.partition, UNKNOWN, each.problem)
        for each in found
        if each.problem and each.partition not in told and not _may_pass(silent.get(each.partition))
    ]
    settled = {each.partition: each.settled for each in found if each.settled}
    if _WATCHED in broken:
        settled[_WATCHED] = tuple(broken[_WATCHED].failed)
    now, messages = after(broken, counted, settings.ui_url, settled)
    return state.model_copy(update={"broken": now, "silent": silent, "next": left}), messages


def _silent(known: Mapping[str, float], found: Iterable[Checkup], settings: Settings) -> dict[str, float]:
    """Since when nothing could be said of partitions for a reason that should pass by itself, after looking again."""
    now = time.time()
    silent = {where: min(since, now) for where, since in known.items() if _is_watched(where, settings)}
    for each in found:
        if each.problem and each.passing:
            silent.setdefault(each.partition, now)
        else:
            silent.pop(each.partition, None)
    return silent


def _may_pass(since: float | None) -> bool:
    return since is not None and time.time() - since < _LONG


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
