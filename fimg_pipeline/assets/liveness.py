"""Runs whose process was killed: nobody tells Dagster, and their places in the pool would be taken for ever.

Every run has a file in the instance's folder, locked by the process that executes it. The system lets go of the lock
when the process dies, however it does, and whatever process gets its number next.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import dagster as dg

from fimg_pipeline.state import NEW, held, is_left_behind

#: Tag of a run that a command executes by itself: the name under which that command lives.
TAG_COMMAND: Final = "fimg/command"

#: How long it may take from making a run to handing it to those who execute it.
_BEGUN_WITHIN: Final = timedelta(hours=1)

#: How often (seconds) a step in a container of its own looks whether its run still lives.
_WATCHED_EVERY: Final = 5.0

_UNFINISHED: Final = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def alive(instance: dg.DagsterInstance, name: str) -> Iterator[None]:
    """Shows that this process executes run ``name`` (or is the command of that name) while the block runs."""
    with held(_file(instance, name)):
        yield


@contextmanager
def ending_with(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Ends this process, should the one that executes run ``run_id`` die while the block runs.

    For steps in containers of their own, which would work on, beside those of the run that comes in its place.
    """
    file = _file(instance, run_id)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCHED_EVERY):
            if not file.exists() or is_left_behind(file):
                os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def close_abandoned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Marks runs of this instance as failed whose process on this machine died, or that nobody began; their ids."""
    left = {file for file in _folder(instance).glob("*") if file.suffix != NEW and is_left_behind(file)}
    closed = []
    if left:
        for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
            run = record.dagster_run
            if _deciding_file(instance, run) in left:
                # The daemon does so a while after a run has ended; where none runs, nobody would.
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
                instance.report_run_failed(run, "the process that executed this run was killed")
                closed.append(run.run_id)
    for file in left:
        file.unlink(missing_ok=True)
    return [*closed, *_close_never_begun(instance)]


def _close_never_begun(instance: dg.DagsterInstance) -> list[str]:
    """Those that were made, and whose maker died before anybody had them to begin: their partition would wait on."""
    before = datetime.now(timezone.utc) - _BEGUN_WITHIN
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED], created_before=before)
    found = [record.dagster_run for record in instance.get_run_records(filters)]
    found = [run for run in found if not _deciding_file(instance, run).exists()]
    for run in found:
        instance.report_run_failed(run, "nobody began this run")
    return [run.run_id for run in found]


def _deciding_file(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Path:
    """The run's own file; before it has one its command's, whose tag a re-execution has only inherited."""
    own = _file(instance, run.run_id)
    command = run.tags.get(TAG_COMMAND)
    return own if own.exists() or command is None or run.parent_run_id else _file(instance, command)


def _folder(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / "alive"


def _file(instance: dg.DagsterInstance, name: str) -> Path:
    return _folder(instance) / name
