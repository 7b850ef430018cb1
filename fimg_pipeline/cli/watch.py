"""Watching a run: what its steps report, as they do, and Dagster's own output out of the way."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import dagster as dg
from rich.console import Console
from rich.markup import escape

from fimg_pipeline.assets.liveness import TAG_COMMAND, close_abandoned_runs
from fimg_pipeline.assets.steps import POOL
from fimg_pipeline.progress import Event, Follower, Outcomes
from fimg_pipeline.settings import Settings

#: What asks a command to stop: Ctrl-C, the terminal that is gone, a supervisor.
STOPPING: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
_POLL_SECONDS: Final = 0.3
#: How long nothing may happen before somebody wants to know why.
_PATIENCE_SECONDS: Final = 5.0


class Watcher(threading.Thread):
    """Prints what the steps of a run report, as they do, and what the run waits for when none does anything.

    ``command`` is the run's :data:`TAG_COMMAND`, by which it is found.
    """

    def __init__(
        self, instance: dg.DagsterInstance, settings: Settings, command: str, total: int, console: Console
    ) -> None:
        super().__init__(daemon=True)
        self._instance = instance
        self._settings = settings
        self._command = command
        self._total = total
        self._console = console
        self._ended = threading.Event()
        #: Each name once, however often it was tried.
        self._done: set[tuple[str, str]] = set()
        self._working: set[tuple[str, str]] = set()
        self._looked = time.monotonic()
        self._told: set[str] = set()
        self.outcomes = Outcomes()

    def run(self) -> None:
        follower: Follower | None = None
        ended = False
        while True:
            if follower is None:
                runs = self._instance.get_run_records(dg.RunsFilter(tags={TAG_COMMAND: self._command}), limit=1)
                if runs:
                    self.outcomes.run_id = runs[0].dagster_run.run_id
                    follower = Follower(self._settings.home, self.outcomes.run_id)
            if follower is not None:
                self._show(follower.new())
                try:
                    self._mind_waiting(self.outcomes.run_id)
                except Exception as error:
                    # What is shown and counted must not end with it. This goes to Dagster's own log.
                    print(f"looking after the pool failed: {error!r}", file=sys.stderr)
            if ended:
                return
            ended = self._ended.wait(_POLL_SECONDS)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        """Shows what is left and ends."""
        self._ended.set()
        self.join()

    def _mind_waiting(self, own: str | None) -> None:
        """While nothing is done: who has the places in the pool, and that none of them is dead."""
        if self._working or time.monotonic() - self._looked < _PATIENCE_SECONDS:
            return
        self._looked = time.monotonic()
        close_abandoned_runs(self._instance)
        storage = self._instance.event_log_storage
        others = set(storage.get_concurrency_info(POOL).active_run_ids) - {own}
        if others and others != self._told:
            self._told = others
            self._console.print(f"          waiting: other runs build ({', '.join(sorted(run[:8] for run in others))})")

    def _show(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.what == "working":
                self._console.print(f"[dim]          {escape(event.message)}[/]")
                continue
            self.outcomes.add(event)
            (self._working.add if event.what == "started" else self._working.discard)((event.kind, event.name))
            self._looked, self._told = time.monotonic(), set()
            label = event.name if event.kind == "image" else f"{event.kind} {event.name}"
            if event.what == "started":
                self._console.print(f"[dim]          {label} …[/]")
                continue
            if event.kind == "source" and event.what != "failed":
                continue
            self._done.add((event.kind, event.name))
            style = {"built": "green", "reused": "cyan", "failed": "red"}[event.what]
            counter = f"[{len(self._done):>2}/{self._total}]"
            self._console.print(f"{escape(counter):>8}  [{style}]{label} {event.what}[/] in {event.seconds:.1f} s")
            if event.what == "failed":
                self._console.print(f"          {event.message.splitlines()[0]}", markup=False)


@contextmanager
def interruptions() -> Iterator[Callable[[], signal.Signals | None]]:
    """Yields a function that says which signal asked to stop in the block: Ctrl-C, a supervisor's SIGTERM, a hang-up.

    While a run executes Dagster's signal handlers stand in place of ours, and an interrupted step looks like a failed
    one; the interpreter notes every signal on this pipe, whoever handles it.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    seen = bytearray()

    def interrupted() -> signal.Signals | None:
        with suppress(BlockingIOError):
            seen.extend(os.read(reading, 4096))
        return next((asked for asked in STOPPING if asked in seen), None)

    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(previous)
        os.close(reading)
        os.close(writing)


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Sends what this process and its children print to ``path``: Dagster's own log, in full, for when it is needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
