"""Commits as people know them: who, when, what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fimg_pipeline.source.model import RepositorySnapshot
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline.values.masking import printable

_FIELDS: Final = "%H%x00%an%x00%ad%x00%s"


@dataclass(frozen=True)
class Commit:
    """``day`` is the author's (``YYYY-MM-DD``), ``subject`` the first line of the message; all of it can be printed."""

    commit: str
    author: str
    day: str
    subject: str


def commits(store: ObjectStore, until: str, *, since: str | None = None, most: int = 1) -> list[Commit]:
    """The latest ``most`` commits up to ``until``, newest first; without those that ``since`` has already.

    Empty where neither is known to the store, for instance where a history was cut.
    """
    known = [] if since is None else [f"^{since}"]
    with store.history(store.cuts) as git:
        rows = git.text(
            "log", "-z", f"--max-count={most}", f"--format={_FIELDS}", "--date=format:%Y-%m-%d", until, *known, "--"
        )
    fields = [printable(field) for field in (rows or "").split("\0")]
    return [Commit(*fields[start : start + 4]) for start in range(0, len(fields) - 3, 4)]


def uncommitted(store: ObjectStore, repository: RepositorySnapshot) -> list[str]:
    """The files of a working folder that differ from its commit, as they can be printed."""
    rows = store.git.text("diff-tree", "-r", "-z", "--name-only", "--no-renames", repository.commit, repository.tree)
    return [printable(path) for path in (rows or "").split("\0") if path]
