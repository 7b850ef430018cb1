"""What was tried in a simulation, counted apart from the sensor: by it what that leaves to people is explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fimg_pipeline.automation.stale import ATTEMPTS, Item, Record

#: Something of a partition, made of what has a fingerprint.
Thing = tuple[str, str, str]


@dataclass
class Tries:
    """``failed``: since something was last made, and ``ever``; ``ended``: by a person, when it was tried last."""

    failed: Counter[Thing] = field(default_factory=Counter)
    ever: Counter[Thing] = field(default_factory=Counter)
    ended: set[Thing] = field(default_factory=set)

    def made(self, partition: str, name: str, unsound: str | None = None) -> None:
        """It is on record, of whatever: what failed or was ended before says nothing any more.

        ``unsound``: of what it was made, when it did not pass its checks; that was one more try of it.
        """

        def forgotten(thing: Thing) -> bool:
            return thing[:2] == (partition, name) and thing[2] != unsound

        for thing in [each for each in self.failed if forgotten(each)]:
            del self.failed[thing]
        self.ended = {each for each in self.ended if not forgotten(each)}

    def was_cancelled(self, partition: str, wanted: Mapping[str, str]) -> None:
        """A person ended a run that was to make ``wanted`` (name → fingerprint)."""
        self.ended |= {(partition, name, fingerprint) for name, fingerprint in wanted.items()}

    def has_failed(self, partition: str, wanted: Mapping[str, str]) -> None:
        """A run that was to make ``wanted`` did not."""
        things = [(partition, name, fingerprint) for name, fingerprint in wanted.items()]
        self.failed.update(things)
        self.ever.update(things)
        self.ended -= set(things)

    def given_up(self, partition: str, name: str, fingerprint: str, record: Record | None = None) -> bool:
        """Whether it failed so often that nobody but a person, or a night, is to try it."""
        thing = (partition, name, fingerprint)
        # What is made and does not pass its checks was a try, whatever was made before.
        unsound = record is not None and record.fingerprint == fingerprint and not record.passed
        return self.failed[thing] >= ATTEMPTS or (unsound and self.ever[thing] >= ATTEMPTS)

    def unexplained(self, partition: str, items: Sequence[Item], records: Mapping[str, Record]) -> list[str]:
        """Which of ``items``, stale and parents first, nobody asks for, and no person has to do with."""
        left: set[str] = set()
        found = []
        for item in items:
            explained = (partition, item.name, item.fingerprint) in self.ended or self.given_up(
                partition, item.name, item.fingerprint, records.get(item.name)
            )
            if explained or left & set(item.needs):
                left.add(item.name)
            else:
                found.append(item.name)
        return found
