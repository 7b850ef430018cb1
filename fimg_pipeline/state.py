"""Where a run keeps its things below the state folder (``FIMG_HOME``), and locks between processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fimg_pipeline.errors import FimgError

#: Ending of files that are about to get their name.
NEW: Final = ".new"


def run_folder(home: Path, run_id: str) -> Path:
    """Where a run keeps its progress and its logs."""
    return home / "runs" / run_id


def write_whole(path: Path, text: str) -> None:
    """Gives a file its content in one step: nobody finds half of it. For whoever holds a lock, or names it uniquely.

    :class:`FimgError` when it can't be written; then it is as it was.
    """
    new = path.with_name(path.name + NEW)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise FimgError(f"{path} can't be written: {error.strerror}") from None


@contextmanager
def locked(
    path: Path, hint: str = "set FIMG_HOME to a folder that is yours", waits: Callable[[], None] | None = None
) -> Iterator[int]:
    """Holds an advisory lock on ``path``; the system lets go of it when the holder dies.

    ``waits`` is called when somebody else has it.

    Yields its descriptor: a child process that inherits it holds the lock too, for as long as it lives.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except OSError as error:
        raise FimgError(f"{path} can't be written: {error.strerror}", hint=hint) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waits is not None:
                waits()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keeps a file at ``path`` while the block runs, locked: left behind unlocked, it tells that this process died."""
    new = path.with_name(f"{path.name}-{os.getpid()}{NEW}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = new.open("w")
    except OSError as error:
        raise FimgError(
            f"{path} can't be written: {error.strerror}", hint="set FIMG_HOME to a folder that is yours"
        ) from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Under its name only once it is locked: nobody may find it otherwise.
        new.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_left_behind(path: Path) -> bool:
    """Whether the process that kept ``path`` by :func:`held` died; where that can't be told, it did not."""
    try:
        with path.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A process that ended well a moment ago has removed the file this is a handle of.
            return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except OSError:
        return False


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """A folder that only this user can read, for the block; what killed processes left of theirs is removed first."""
    kept = home / "scratch"
    for lock in kept.glob("*.lock"):
        if is_left_behind(lock):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
    folder = kept / uuid.uuid4().hex
    with held(folder.with_suffix(".lock")):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
