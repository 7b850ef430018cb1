"""What is watched, and what is known of it: the tags, each for its platforms, with what is wanted and on record.

Watched are the configured tag and those that ``fimg tag add`` recorded. One that stands for a branch, or for FATE_DIR
as it stands, is followed: whatever changes is built. One that stands for a tag or a commit is built once: recipes or
bases that change later don't reach a release unless somebody asks for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property, partial
from pathlib import Path
from typing import Final, TypeVar

import dagster as dg

from fimg_pipeline.assets.keys import LISTS, PUBLISHED, REGISTERED, SOURCE, bundle_key, image_key, package_key
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.ledger import Ledger
from fimg_pipeline.automation.stale import Record
from fimg_pipeline.catalog.images import IMAGES, unbuildable_reason
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.dockerfiles import read_again
from fimg_pipeline.errors import FimgError, TransientError
from fimg_pipeline.plan.model import EngineState, Plan
from fimg_pipeline.plan.selection import select
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship.folder import BUNDLES
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.refs import ORIGIN
from fimg_pipeline.source.store import Remotes
from fimg_pipeline.source.tags import recorded, ref_of

#: All that is looked at of an instance.
KEYS: Final = (
    SOURCE,
    *map(package_key, PACKAGES),
    *map(image_key, IMAGES),
    PUBLISHED,
    LISTS,
    *map(bundle_key, BUNDLES),
    REGISTERED,
)

_UNFINISHED: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


#: So long (seconds) tags are looked at in a tick; the next one goes on with the rest.
_LOOKING: Final = 5.0
#: So many runs of a partition are looked at, if it had that many since whatever is asked about.
_LOOKED_BACK: Final = 1000
#: So long (seconds) an origin is not asked again where a tag of it is.
_ASKED_AGAIN: Final = 600.0
#: So long (seconds) an engine that hung is not asked again, and so long it takes to be one that hangs.
_AWAY: Final = 180.0
_HANGS: Final = 3.0
#: So long (seconds) FATE_DIR is waited for: a file system of another machine may be gone.
_READING: Final = 15.0
_BUSY: Final = 1.0
_LOG: Final = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class Watched:
    """A tag for a platform.

    ``records`` by the asset's key as text; ``engine`` tells what that holds; ``fixed`` the commit of a tag that does
    not move; ``run`` what is waiting or under way for it. ``problem``: why it can't be looked at; ``passing``: as that
    may be over by itself.
    """

    platform: Platform
    tag: str
    settings: Settings
    records: Mapping[str, Record]
    pipeline: Pipeline
    engine: Callable[[], EngineState]
    remotes: Remotes
    run: dg.DagsterRun | None = None
    fixed: str | None = None
    problem: FimgError | None = None
    passing: bool = False
    _trouble: FimgError | None = None

    @property
    def partition(self) -> str:
        return str(partition_key(self.platform, self.tag))

    @cached_property
    def selected(self) -> list[str]:
        """The images that the switches select and the platform can have."""
        return [
            selected.name
            for selected in select(self.settings.features)
            if unbuildable_reason(selected.name, self.platform) is None
        ]

    @cached_property
    def published(self) -> list[str]:
        """Those of them that are carried elsewhere: not what was only added below them."""
        return [
            selected.name
            for selected in select(self.settings.features)
            if selected.name in self.selected and IMAGES[selected.name].published and not selected.added
        ]

    @property
    def built_once(self) -> bool:
        """Whether all that is selected was made of the commit that the tag stands for, and will not be anew."""
        found = [self.records.get(name) for name in self.selected]
        return self.fixed is not None and all(
            record is not None and record.passed and record.commit == self.fixed for record in found
        )

    @property
    def gone(self) -> list[str]:
        """The selected images on record that the engine does not have any more."""
        engine = self.engine()
        return [
            name
            for name in self.selected
            if name in self.records and not engine.holders(self.records[name].fingerprint, self.platform)
        ]

    @cached_property
    def plan(self) -> Plan:
        """What is wanted, of source and engine as they are; :class:`FimgError` when that can't be said."""
        if self._trouble is not None:
            raise self._trouble
        try:
            return self.pipeline.plan(self.settings.as_built, self.engine(), self.remotes)
        except FimgError as error:
            self._trouble = error.with_traceback(None)
            raise
        except Exception as error:
            # A bug; but what one commit says must not stop the other tags.
            _LOG.exception("%s can't be planned", self.partition)
            self._trouble = FimgError(f"unexpected {type(error).__name__}: {error}", hint="please report it")
            raise self._trouble from None


def tags(settings: Settings) -> list[str]:
    """The tags that are watched, the configured one first."""
    return list(dict.fromkeys([settings.tag, *recorded(settings.home)]))


@dataclass
class Reader:
    """Reads where reading may never come to an end: a file system whose server is gone, which no signal ends either."""

    _thread: threading.Thread | None = None

    def read(self, place: Path, ask: Callable[[], T]) -> T:
        """What ``ask`` answers; :class:`TransientError` when it does not end soon, and as long as it has not."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def asking() -> None:
            try:
                answers.append(ask())
            except BaseException as error:
                errors.append(error)

        if self._thread is not None:
            # Somebody else may just be reading; one that hangs is not waited for again.
            self._thread.join(_BUSY)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=asking, daemon=True)
            self._thread.start()
            self._thread.join(_READING)
        if errors:
            raise errors[0]
        if not answers:
            raise TransientError(f"{place} can't be read: nothing came within {_READING:.0f} s")
        return answers[0]


@dataclass
class Memory:
    """What a process remembers between two looks, to be quicker: all of it can be had anew.

    ``fixed``: commits of refs that don't move and that only FATE_DIR's origin has, and when it was asked: a tag can be
    moved, too. ``engines_away``: by address, why an engine did not answer lately, and when that was.
    """

    ledger: Ledger = field(default_factory=Ledger)
    fixed: dict[tuple[Path, str], tuple[str, float]] = field(default_factory=dict)
    remotes: Remotes = field(default_factory=Remotes)
    engines_away: dict[str | None, tuple[FimgError, float]] = field(default_factory=dict)
    reader: Reader = field(default_factory=Reader)


def survey(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    memory: Memory,
    platforms: Sequence[Platform],
    *,
    first: str = "",
) -> Iterator[list[Watched]]:
    """All that is watched, a tag at a time, each for ``platforms``.

    ``first``: the tag to begin with, if it is one of them; those before it come last.
    """
    configured = pipeline.settings()
    names = tags(configured)
    start = names.index(first) if first in names else 0
    names = names[start:] + names[:start]
    refs = {tag: ref_of(configured.home, tag) for tag in names}
    read_again()
    memory.remotes.anew()
    at = _fixed(pipeline, configured, refs.values(), memory)
    memory.ledger.read(instance, KEYS)
    under_way = unfinished(instance)
    engine = _asked_once(pipeline.engine_state, memory.engines_away)
    for tag in names:
        ref = refs[tag] or ""
        problem = at.problem or at.problems.get(ref)
        yield [
            Watched(
                platform,
                tag,
                settings,
                memory.ledger.records(partition),
                pipeline,
                partial(engine, settings.engine_address),
                memory.remotes,
                under_way.get(partition),
                at.fixed.get(ref),
                problem,
                # Where nothing can be read, a file system may be away.
                problem is not None and (problem.transient or problem is at.problem),
            )
            for platform in platforms
            for settings in [pipeline.settings(TAG=tag, Platform=platform)]
            for partition in [str(partition_key(platform, tag))]
        ]


def _asked_once(
    ask: Callable[[str | None], EngineState], away: dict[str | None, tuple[FimgError, float]]
) -> Callable[[str | None], EngineState]:
    """``ask`` for each address once, also where there is no answer: one that hangs would hang again.

    ``away``: what did not answer lately, why and when; nor is that asked.
    """
    now = time.monotonic()
    answers: dict[str | None, EngineState | FimgError] = {
        address: error for address, (error, at) in away.items() if now - at < _AWAY
    }

    def answer(address: str | None) -> EngineState:
        if address not in answers:
            began = time.monotonic()
            try:
                answers[address] = ask(address)
            except FimgError as error:
                answers[address] = error
                if time.monotonic() - began > _HANGS:
                    away[address] = (error.with_traceback(None), time.monotonic())
        found = answers[address]
        if isinstance(found, FimgError):
            raise found
        return found

    return answer


def ticked(look: Callable[[], T | dg.SkipReason]) -> T | dg.SkipReason:
    """What a look of a sensor or schedule comes to; where nothing can be looked at, that: its cursor stays as it is."""
    try:
        return look()
    except FimgError as error:
        return dg.SkipReason(f"nothing can be looked at: {error.message}")


def in_time(
    watched: Iterable[list[Watched]], looks_at: Callable[[list[Watched]], list[T]], seconds: float | None = None
) -> tuple[list[T], str]:
    """What looking at tags came to, at one at least, and the tag to go on with if there was no time for all."""
    most = _LOOKING if seconds is None else seconds
    started = time.monotonic()
    found: list[T] = []
    for platforms in watched:
        if found and time.monotonic() - started > most:
            return found, platforms[0].tag
        found += looks_at(platforms)
    return found, ""


def said(told: Sequence[str], left: str) -> str:
    """What a tick that asks for nothing says: a line for what it looked at, and the tag it goes on with, if any."""
    return "\n".join([*told, *([f"goes on with {left}"] if left else [])])


def unfinished(instance: dg.DagsterInstance) -> dict[str, dg.DagsterRun]:
    """The runs that wait or are under way, by partition."""
    return {run.tags.get("dagster/partition", ""): run for run in unfinished_runs(instance)}


def unfinished_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """All runs that wait or are under way."""
    return [record.dagster_run for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))]


def finished(instance: dg.DagsterInstance, partition: str, since: float) -> list[dg.RunRecord]:
    """The runs of a partition that ended since (seconds since 1970), the latest first."""
    asked = dg.RunsFilter(
        tags={"dagster/partition": partition}, updated_after=datetime.fromtimestamp(since, timezone.utc)
    )
    return [record for record in instance.get_run_records(asked, limit=_LOOKED_BACK) if record.dagster_run.is_finished]


@dataclass(frozen=True)
class _Refs:
    """What refs come to: commits of those that don't move, and of which nothing can be said and why.

    ``problem``: why nothing can be said of any, if so.
    """

    fixed: Mapping[str, str]
    problems: Mapping[str, FimgError]
    problem: FimgError | None = None


def _fixed(pipeline: Pipeline, settings: Settings, refs: Iterable[str | None], memory: Memory) -> _Refs:
    """Tags and commits in FATE_DIR, and tags that only its origin has: that is asked for all of them at once."""
    asked = [ref for ref in dict.fromkeys(refs) if ref and not ref.startswith(ORIGIN)]
    now = time.monotonic()

    def read() -> tuple[dict[str, str], list[str]]:
        fixed = dict(pipeline.fixed_commits(settings, asked))
        return fixed, pipeline.absent_refs(settings, [ref for ref in asked if ref not in fixed])

    try:
        fixed, absent = memory.reader.read(settings.fate_dir, read)
    except FimgError as error:
        return _Refs({}, {}, error)
    known = {ref: memory.fixed[settings.fate_dir, ref] for ref in absent if (settings.fate_dir, ref) in memory.fixed}
    due = [ref for ref in absent if ref not in known or now - known[ref][1] > _ASKED_AGAIN]
    problems: dict[str, FimgError] = {}
    if due:
        try:
            found = pipeline.origin_tags(settings, due, memory.remotes)
        except FimgError as error:
            problems = {ref: error for ref in due if ref not in known}
        else:
            known |= {ref: (commit, now) for ref, commit in found.items()}
            memory.fixed.update({(settings.fate_dir, ref): known[ref] for ref in found})
            problems = {
                ref: SourceError(f"FATE_DIR has no git ref {ref} (any more), nor its origin a tag of that name")
                for ref in due
                if ref not in found
            }
    fixed |= {ref: commit for ref, (commit, _) in known.items()}
    return _Refs(fixed, problems)
