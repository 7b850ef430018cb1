"""What a run has done so far, for whoever watches it: one line of JSON per event in a file beside its logs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Final, Literal

from fimg_pipeline.plan.model import Planned, PlannedPackage
from fimg_pipeline.state import run_folder
from fimg_pipeline.values.masking import printable

#: More than that (characters) no chat service takes as a line.
_LONGEST: Final = 500

#: Why something of a run failed that no step says of.
KILLED: Final = "its run was killed, or failed before this began: its page says why"

Kind = Literal["source", "package", "image", "bundle", "registry", "kuscia", "prune"]
What = Literal["started", "working", "built", "reused", "failed"]


@dataclass(frozen=True)
class Event:
    """``what`` became of ``kind`` ``name``; ``seconds`` of wall time, ``message`` why it failed or what it is doing."""

    kind: Kind
    name: str
    what: What
    seconds: float = 0.0
    message: str = ""


def report(home: Path, run_id: str, event: Event) -> None:
    """Appends ``event`` to the run's file; single writes, so that concurrent steps don't mix."""
    path = _path(home, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, json.dumps(asdict(event)).encode() + b"\n")
    finally:
        os.close(handle)


def telling(log: Callable[[str], None], home: Path, run_id: str, kind: Kind, name: str) -> Callable[[str], None]:
    """``log`` for lines that whoever watches the run is to see too, as it takes long or goes slowly."""

    def say(line: str) -> None:
        log(line)
        report(home, run_id, Event(kind, name, "working", message=line))

    return say


class Follower:
    """Reads a run's events as they come."""

    def __init__(self, home: Path, run_id: str) -> None:
        self._path = _path(home, run_id)
        self._file: IO[str] | None = None
        self._rest = ""

    def new(self) -> Iterator[Event]:
        """The events since the last call."""
        if self._file is None:
            if not self._path.exists():
                return
            self._file = self._path.open(encoding="utf-8", errors="replace")
        self._rest += self._file.read()
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            # Half a line is what a full disk leaves.
            with suppress(ValueError, TypeError):
                yield Event(**json.loads(line))


@dataclass
class Outcomes:
    """What became of every image and package of a run, by asset key."""

    run_id: str | None = None
    events: dict[tuple[str, str], Event] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        earlier = self.events.get((event.kind, event.name))
        # It is tried again; should that be interrupted, it has failed.
        if event.what == "started" and earlier is not None and earlier.what == "failed":
            return
        self.events[(event.kind, event.name)] = event

    def add_failure(self, kind: Kind, name: str, message: str) -> None:
        """Dagster says that the step failed; unless the step itself said why, this is all there is to tell."""
        known = self.events.get((kind, name))
        if known is None or known.what == "started":
            self.events[(kind, name)] = Event(kind, name, "failed", message=message)

    def of(self, item: Planned) -> Event | None:
        return self.events.get(("package" if isinstance(item, PlannedPackage) else "image", item.name))


def outcomes(home: Path, run_id: str, *, failed: bool = False) -> Outcomes:
    """What became of a run's images and packages so far.

    ``failed``: the run is over, and did; what it had begun, and does not say how that ended, was killed.
    """
    found = Outcomes(run_id)
    for event in Follower(home, run_id).new():
        if event.what != "working":
            found.add(event)
    if failed:
        for key, event in found.events.items():
            if event.what == "started":
                found.events[key] = replace(event, what="failed", message="its process was killed")
    return found


def first_line(message: str) -> str:
    """The first line with something in it, without what would steer a terminal, and not endless."""
    found = next(filter(None, map(printable, message.splitlines())), "no reason was given")
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 1]}…"


def log_path(home: Path, run_id: str, name: str) -> Path:
    """The log of one image's or package's build within a run."""
    return run_folder(home, run_id) / "logs" / f"{name}.log"


def _path(home: Path, run_id: str) -> Path:
    return run_folder(home, run_id) / "progress.jsonl"
