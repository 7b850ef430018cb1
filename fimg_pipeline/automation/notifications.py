"""Tells people what broke and what works again, by the services that ``NOTIFY_URLS`` names; off without it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Final

import dagster as dg
from pydantic import ValidationError

from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.asked import PRUNING, WATCHED, Asked
from fimg_pipeline.automation.broken import UNKNOWN, Finished, Message, State, Unknown, after, failures
from fimg_pipeline.automation.checkup import Checkup, checkups
from fimg_pipeline.automation.prune_job import PRUNE
from fimg_pipeline.automation.run_requests import REQUEST, wanted_by
from fimg_pipeline.automation.sending import is_due, send, service, worth_sending
from fimg_pipeline.automation.watching import Memory, tags, ticked
from fimg_pipeline.errors import FimgError
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
#: So long (seconds) what should pass by itself is left to itself: a night's maintenance tells nobody.
_LONG: Final = 3 * 3600.0
#: After so long (seconds) without a look nobody knows what happened meanwhile; what begins within it has one cause.
_UNSEEN: Final = 900.0
#: So long (seconds) messages are sent in a look; the rest the next time.
_SENDING: Final = 10.0


@dg.sensor(
    name="notifications",
    minimum_interval_seconds=60,
    description="Tells people when a platform's tag breaks, with the first error line and a link, and when it works "
    "again: by 'NOTIFY_URLS' (DingTalk, WeCom, Feishu, Slack, mail, webhooks …).\n\n"
    "One message each, however many runs fail in between.",
)
def notifications(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    """Looks at the runs that ended since the last time, and at all tags."""
    return ticked(lambda: _told(context, pipeline))


def _told(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
    settings = pipeline.settings()
    if not settings.notify_urls:
        return dg.SkipReason("NOTIFY_URLS is not set: nobody is told")
    close_abandoned_runs(context.instance)
    state = _known(context.cursor)
    try:
        asked = Asked(settings, frozenset(tags(settings)))
    except FimgError as error:
        # Nobody can say what is watched: that is all that is told, and the runs are looked at when it is known again.
        broken, messages = after(state.broken, [_stuck(WATCHED, WATCHED, str(error))], settings.ui_url)
        state = state.model_copy(update={"broken": broken})
    else:
        state, runs = _ended_since(context.instance, settings, state)
        state, messages = _looked_at(context.instance, pipeline, asked, state, runs)
    services = list(map(service, settings.notify_urls))
    pending = worth_sending(state.untold, messages, state.broken, settings.ui_url)
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
    instance: dg.DagsterInstance, pipeline: Pipeline, asked: Asked, state: State, runs: Sequence[Finished]
) -> tuple[State, list[Message]]:
    """``state`` with what is broken after ``runs`` ended and tags were looked at, and what people are to be told."""
    broken = asked.still(state.broken)
    counted = [asked.counted(run) for run in runs]
    failed = {where: {*each.failed} for where, each in broken.items()}
    for run in counted:
        failed.setdefault(run.partition, set()).update(failures(run))
    now = time.time()
    if abs(now - state.looked) > _UNSEEN:
        # What happened while nobody looked nobody knows.
        state = state.model_copy(update={"unknown": {}, "next": ""})
    found: list[Checkup] = []
    # That nothing can be looked at keeps nobody from hearing what broke.
    with suppress(FimgError):
        found, left = checkups(instance, pipeline, _MEMORY, failed, state.next)
        state = state.model_copy(update={"looked": now, "next": left})
    unknown = _unknown(state, found, asked, now)
    # One cause is not told under two names, and of what broke otherwise meanwhile not that it works.
    known = broken.keys() - {run.partition for run in counted} | {run.partition for run in counted if run.failed}
    counted += [
        _stuck(where, UNKNOWN, each.why)
        for where, each in unknown.items()
        if where not in known
        and (each.since is None or now - each.since > _LONG)
        # Of all tags together, which takes some looks.
        and (not state.next or where in broken)
    ]
    settled = {each.partition: each.settled for each in found if each.settled}
    if WATCHED in broken:
        settled[WATCHED] = tuple(broken[WATCHED].failed)
    broken, messages = after(broken, counted, asked.settings.ui_url, settled)
    return state.model_copy(update={"broken": broken, "unknown": unknown}), messages


def _unknown(state: State, found: Iterable[Checkup], asked: Asked, now: float) -> dict[str, Unknown]:
    """Of which partitions nothing can be said after looking again: one cause begins once, whenever it is met."""
    unknown = {where: each for where, each in state.unknown.items() if asked.watches(where)}
    lately = [each.since for each in unknown.values() if each.since is not None and now - each.since < _UNSEEN]
    for each in found:
        known = unknown.pop(each.partition, None)
        if each.problem:
            since = known.since if known is not None and known.since is not None else min(lately, default=now)
            unknown[each.partition] = Unknown(why=each.problem, since=since if each.passing else None)
    return unknown


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
        partition=run.tags.get("dagster/partition", PRUNING),
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
