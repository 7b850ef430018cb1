"""What a run has done so far, for whoever watches it: one line of JSON per event in a file beside its logs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

from fimg_pipeline.state import run_folder

Kind = Literal["source", "package", "image", "bundle", "registry", "kuscia"]
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
            self._file = self._path.open(encoding="utf-8")
        self._rest += self._file.read()
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            yield Event(**json.loads(line))


def log_path(home: Path, run_id: str, name: str) -> Path:
    """The log of one image's or package's build within a run."""
    return run_folder(home, run_id) / "logs" / f"{name}.log"


def _path(home: Path, run_id: str) -> Path:
    return run_folder(home, run_id) / "progress.jsonl"
