"""FATE's requirement files at a commit: what they say, and since when they say it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from fimg_pipeline.catalog.packages import REQUIREMENT_FILES
from fimg_pipeline.source.checkout import Checkout
from fimg_pipeline.source.model import RepositorySnapshot, SourceError
from fimg_pipeline.source.store import ObjectStore, TreeEntry, shallow

#: A day; where git does not understand what stands for one, it says nothing, or when its clocks began.
_DAY: Final = re.compile(r"(?!1970-01-01)\d{4}-\d{2}-\d{2}")
#: By the digest of their names and blobs, since when releases' requirement files are as they are: a clone whose history
#: is cut does not say.
RELEASED: Final = {
    "d15b99eb8dc23b5960eb6190df059f935f320886": "2023-04-19",  # 1.11.1
    "87bcafdf8bca1613599ada7e76f5243e989f5369": "2023-05-31",  # 1.11.2
    "cb8ed0a937e6005002950016d62a64c328b142eb": "2023-09-06",  # 1.11.3
    "356ce5846d3e39e2d0b2e8d3c3af7d5f5b508d40": "2023-10-30",  # 1.11.4
}


def requirements_date(store: ObjectStore, checkout: Checkout, fate: RepositorySnapshot) -> tuple[str, bool]:
    """The first day (``YYYY-MM-DD``) FATE's requirement files were as they are: what they leave open is as of then.

    Not the commit's own day, or every commit would make a new Python environment; and not the day of the last
    change, or a revert would. False beside it where the history does not say: in a shallow clone that was cut there,
    unless the files are those of a release (:data:`RELEASED`).
    """
    cuts = store.cuts | {*shallow(checkout.shallow)}
    commits = _changes(store, fate, cuts) or _changes(store, fate, cuts, "-1") or {}
    # What was fetched while FATE_DIR was cut goes on in that once it is whole.
    while joined := {commit for commit in cuts & commits.keys() if store.goes_on(commit)}:
        further = _changes(store, fate, cuts - joined)
        if further is None:
            break
        cuts, commits = cuts - joined, further or commits
    if not any(map(_DAY.fullmatch, commits.values())):
        raise SourceError(
            f"the date of FATE's requirement files is unknown: {fate.commit[:12]} can't be read, or has none"
        )
    entries = _entries(store, fate)
    now = [entry.object_id for entry in entries]
    paths = [f"{REQUIREMENT_FILES.path}/{entry.path}" for entry in entries]
    found = store.ids([f"{commit}:{path}" for commit in commits for path in paths])
    then = [found[start : start + len(paths)] for start in range(0, len(found), len(paths))] if paths else []
    same = [date for date, ids in zip(commits.values(), then, strict=False) if ids == now and _DAY.fullmatch(date)]
    date = min(same or [next(filter(_DAY.fullmatch, commits.values()))])
    # Before a commit at which the history was cut they may have been the same, whatever they were there.
    if not cuts & commits.keys():
        return date, True
    known = RELEASED.get(identity(entries))
    return known or date, known is not None


def _changes(store: ObjectStore, fate: RepositorySnapshot, cuts: Iterable[str], *most: str) -> dict[str, str] | None:
    """The commits that changed the files (of ``most`` any), and their days; ``None`` where git can't say.

    Of some there is no day: anybody can write anything into a commit.
    """
    paths = () if most else ("--", ":(glob)python/requirements*.txt")
    with store.history(cuts) as git:
        # The author's day: it outlives a rebase.
        rows = git.text("log", *most, "--format=%H %ad", "--date=format:%Y-%m-%d", fate.commit, *paths)
    if rows is None:
        return None
    return {commit: day for commit, _, day in (row.partition(" ") for row in rows.splitlines())}


def identity(entries: Iterable[TreeEntry]) -> str:
    """What :data:`RELEASED` knows requirement files by."""
    lines = sorted(f"{entry.path} {entry.object_id}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:40]


def requirement_texts(store: ObjectStore, fate: RepositorySnapshot) -> dict[str, str]:
    """The text of FATE's requirement files by name, as far as it is there (a lack is the package's to report)."""
    entries = _entries(store, fate)
    texts = store.contents(entry.object_id for entry in entries)
    return {
        entry.path: text.decode("utf-8", "replace")
        for entry, text in zip(entries, texts, strict=True)
        if text is not None
    }


def _entries(store: ObjectStore, fate: RepositorySnapshot) -> list[TreeEntry]:
    return store.files(f"{fate.tree}:{REQUIREMENT_FILES.path}", REQUIREMENT_FILES.pattern)
