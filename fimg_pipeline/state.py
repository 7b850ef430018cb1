"""The state folder (``FIMG_HOME``): where a run keeps its things, and locks between processes."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fimg_pipeline.errors import FimgError


def run_folder(home: Path, run_id: str) -> Path:
    """Where a run keeps its progress and its logs."""
    return home / "runs" / run_id


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Holds an advisory lock on ``path``; the system lets go of it when the holder dies.

    Yields its descriptor: a child process that inherits it holds the lock too, for as long as it lives.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except OSError as error:
        raise FimgError(
            f"{path} can't be written: {error.strerror}", hint="set FIMG_HOME to a folder that is yours"
        ) from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()
