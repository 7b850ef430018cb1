"""What has to be made so that a platform's tag is as planned, and what of it is better not tried now. Pure.

Levels, not edges: it looks at what is wanted, what is on record and what was tried, never at what changed since it last
looked. Whatever is lost in between (a tick, a cursor, a run), the next look comes to the same end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fimg_pipeline.assets.keys import asset_name
from fimg_pipeline.plan.model import Plan, Planned, PlannedImage, Status

_DAY: Final = 86_400.0
#: How long (seconds) something is left alone after each failure: quickly tried again, as networks do fail, then the
#: next morning, as a registry may be down for a day, or over a weekend. What fails after the last waits for a person,
#: or for a change.
PAUSES: Final = (300.0, 1800.0, 21_600.0, _DAY, 3 * _DAY)
ATTEMPTS: Final = len(PAUSES) + 1
#: So often nights try what was given up: a week.
NIGHTS: Final = 7


@dataclass(frozen=True)
class Record:
    """What an asset was last materialized with, and when (seconds since 1970); ``passed``: its checks, too.

    ``commit`` is FATE's, ``origin`` that of the repository a package comes from, ``reference`` what an image was named.
    """

    fingerprint: str
    at: float
    passed: bool = True
    commit: str = ""
    origin: str = ""
    reference: str = ""

    def is_named(self, reference: str) -> bool:
        """Whether it was given the name it is to have, if any: ``PREFIX`` may be another by now."""
        return not reference or self.reference in ("", reference)


@dataclass(frozen=True)
class Attempt:
    """A run that is over, however: what it was to make (name → :attr:`Item.wanted`), and when it ended and began.

    ``cancelled``: a person ended it; ``made``: what was made in it, or found.
    """

    wanted: Mapping[str, str]
    ended: float
    cancelled: bool = False
    began: float = math.inf
    made: frozenset[str] = frozenset()

    def has_recorded(self, item: Item, record: Record | None) -> bool:
        """Whether it was to make ``item``, and what is on record was made in it."""
        wanted = self.wanted.get(item.name) == item.wanted
        return wanted and record is not None and self.began <= record.at <= self.ended


@dataclass(frozen=True)
class Item:
    """Something to be made: the key of its asset as text, what it is made of by fingerprint, and which others first.

    ``reference`` is what an image is to be named.
    """

    name: str
    fingerprint: str
    needs: tuple[str, ...] = ()
    reference: str = ""

    @property
    def wanted(self) -> str:
        """What a run is asked for: after another ``PREFIX`` it is something else, which nobody has tried."""
        return f"{self.fingerprint} {self.reference}" if self.reference else self.fingerprint


@dataclass(frozen=True)
class Decision:
    """What is stale, by name, parents first: ``wanted`` (as :attr:`Item.wanted`) now, ``waiting`` (with why) not now.

    ``by_hand``: those of ``waiting`` that nothing else will have made: a person, a change, or a night.
    """

    wanted: Mapping[str, str]
    waiting: Mapping[str, str]
    by_hand: frozenset[str]


@dataclass(frozen=True)
class Patience:
    """With what failed, as :func:`decide` has it."""

    once_more: bool
    for_ever: bool


def stale(plan: Plan, records: Mapping[str, Record]) -> tuple[Planned, ...]:
    """What is not on record as planned, or is and is gone from the engine; packages before images, parents first.

    Under which names the engine has an image does not count, only which it was given last: two tags with one BASE_TAG,
    or two platforms, would take the name from each other for ever.
    """
    gone = [image for image in plan.buildable if image.status in (Status.STALE, Status.MISSING)]
    taken_in = {package for image in gone for package in image.image.recipe.packages}
    return tuple(
        item
        for item in (*plan.packages, *plan.buildable)
        if not _made(item, records.get(asset_name(item)))
        or item in gone
        or (item.status is Status.MISSING and item.name in taken_in)
    )


def items(planned: Iterable[Planned]) -> list[Item]:
    """What is to be made of ``planned``, as :func:`decide` wants it."""
    found = []
    for each in planned:
        needs: list[str] = []
        if isinstance(each, PlannedImage):
            needs = [f"package/{name}" for name in each.image.recipe.packages]
            needs += [each.image.parent] if each.image.parent is not None else []
        found.append(Item(asset_name(each), each.fingerprint, tuple(needs), _reference(each)))
    return found


def decide(
    items: Sequence[Item],
    records: Mapping[str, Record],
    attempts: Sequence[Attempt],
    now: float,
    *,
    once_more: bool = False,
    for_ever: bool = False,
) -> Decision:
    """Which of ``items``, all of them stale, to ask for, after the ``attempts`` on this partition, the latest first.

    ``once_more``: also what was given up, :data:`NIGHTS` times; but not what a person ended. ``for_ever``: nothing
    that failed is given up; for what hangs on others, as a registry that is away over a weekend.
    """
    patience = Patience(once_more, for_ever)
    wanted: dict[str, str] = {}
    waiting: dict[str, str] = {}
    by_hand: set[str] = set()
    tried = {item.name: _tries(item, records.get(item.name), attempts, now) for item in items}
    needed = _needed_by_what_is_new(items, tried, now, patience)
    for item in items:
        tries = tried[item.name]
        if item.name in needed:
            tries = [attempt for attempt in tries if not attempt.cancelled]
        lacking = next((name for name in item.needs if name in waiting), None)
        if _given_up(tries, patience):
            by_hand.add(item.name)
        why = _why_not(tries, now, patience) or (None if lacking is None else f"waits for {lacking}")
        if why is None:
            wanted[item.name] = item.wanted
        else:
            waiting[item.name] = why
    return Decision(wanted, waiting, frozenset(by_hand))


def _needed_by_what_is_new(
    items: Sequence[Item], tried: Mapping[str, Sequence[Attempt]], now: float, patience: Patience
) -> set[str]:
    """What has to be there for something that changed since a person ended a run: it is wanted again.

    What was never begun because something else keeps it waiting is not new.
    """
    held: set[str] = set()
    for item in items:
        failed = [attempt for attempt in tried[item.name] if not attempt.cancelled]
        if held & set(item.needs) or _why_not(failed, now, patience) is not None:
            held.add(item.name)
    needed: set[str] = set()
    # Parents come first.
    for item in reversed(items):
        if item.name in needed or not (tried[item.name] or item.name in held):
            needed |= set(item.needs)
    return needed


def _tries(item: Item, record: Record | None, attempts: Sequence[Attempt], now: float) -> list[Attempt]:
    """The attempts that count for an item, the latest first."""
    otherwise = made_otherwise(item, record, attempts)
    since = 0.0 if otherwise else counts_from(item, record, now)
    return [
        attempt
        for attempt in attempts
        if attempt.ended > since
        and attempt.wanted.get(item.name) == item.wanted
        # What went well and is gone again since was no try.
        and (otherwise or item.name not in attempt.made)
    ]


def made_otherwise(item: Item, record: Record | None, attempts: Sequence[Attempt]) -> bool:
    """Whether what is on record was made by a run that was to make ``item``, and came out as something else.

    Where runs see other recipes or settings than who asks for them, say: without end, if such tries did not count.
    """
    if record is None or (record.fingerprint == item.fingerprint and record.is_named(item.reference)):
        return False
    return any(attempt.has_recorded(item, record) for attempt in attempts)


def counts_from(item: Item, record: Record | None, now: float) -> float:
    """From when on (seconds since 1970) tries count.

    Those before something else was made say nothing, a revert is built like any change. But what was made and did not
    pass its checks, or was not taken for what it should be, was a try itself. What is on record of later than ``now``,
    by a clock that was ahead, hides none.
    """
    if record is None or not record.fingerprint or (record.fingerprint == item.fingerprint and not record.passed):
        return 0.0
    if record.at > now:
        return 0.0
    return record.at


def _made(item: Planned, record: Record | None) -> bool:
    if record is None or not record.passed or record.fingerprint != item.fingerprint:
        return False
    return record.is_named(_reference(item))


def _reference(item: Planned) -> str:
    return item.reference if isinstance(item, PlannedImage) else ""


def _why_not(tries: Sequence[Attempt], now: float, patience: Patience) -> str | None:
    return _given_up(tries, patience) or _pause(tries, now, patience)


def _given_up(tries: Sequence[Attempt], patience: Patience) -> str | None:
    if tries and tries[0].cancelled:
        return "its run was cancelled: launch it by hand, or change what it is made of"
    most = ATTEMPTS + NIGHTS if patience.once_more else ATTEMPTS
    if len(tries) >= most and not patience.for_ever:
        return f"tried {len(tries)} times: launch it by hand, or change what it is made of"
    return None


def _pause(tries: Sequence[Attempt], now: float, patience: Patience) -> str | None:
    if not tries or patience.once_more:
        return None
    ended = tries[0].ended
    pause = PAUSES[min(len(tries), len(PAUSES)) - 1]
    left = ended + (min(pause, _DAY) if patience.for_ever else pause) - now
    # By a clock that was ahead nobody waits.
    return f"tried again in {left / 60:.0f} min" if left > 0 and ended <= now else None
