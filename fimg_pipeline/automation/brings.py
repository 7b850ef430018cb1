"""Which commits a run brings, as its tags say it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from textwrap import shorten
from typing import Final

import dagster as dg

from fimg_pipeline.assets.keys import SOURCE, package_key
from fimg_pipeline.assets.records import COMMIT, ORIGIN, latest
from fimg_pipeline.automation.stale import Attempt, Record
from fimg_pipeline.automation.watching import Watched
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.packages import PACKAGES
from fimg_pipeline.plan.model import Plan
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.history import commits
from fimg_pipeline.source.model import RepositorySnapshot
from fimg_pipeline.source.store import ObjectStore

#: So many commits are told of, with so much of subject and author, and so many are counted.
_TOLD: Final = 3
_SUBJECT: Final = 80
_AUTHOR: Final = 40
_COUNTED: Final = 100


def brings(
    instance: dg.DagsterInstance, watched: Watched, wanted: Collection[str], tried: Iterable[Attempt]
) -> dict[str, str]:
    """Tags of a run that say which commits it brings, and where they can be looked at.

    Of FATE, and of the other repositories of which packages are ``wanted`` (asset keys as text); those, too, that runs
    before it were to bring and did not (``tried``).
    """
    plan = watched.plan
    since = min((attempt.began for attempt in tried if _left_to_make(attempt, wanted, watched.records)), default=None)

    def before(key: dg.AssetKey, what: str) -> str:
        """The commit by which an asset was made before what is to be brought."""
        made = latest(instance, key, watched.platform, watched.tag, before=since)
        return (made.tags or {}).get(what, "") if made is not None else ""

    base = before(SOURCE, COMMIT)
    told = [_brought(watched.settings, plan, base)]
    pages = {"fimg/compare": plan.source.fate.compared_to(base or None)}
    for name in _packages(wanted, with_those_taken_in=since is not None):
        repository = plan.source.repositories.get(PACKAGES[name].repositories[0])
        if repository is None or repository.name == "fate" or f"fimg/compare-{repository.name}" in pages:
            continue
        origin = before(package_key(name), ORIGIN)
        if origin and (came := _came(watched.settings, plan, repository, origin)):
            told.append(f"{repository.name}: {came}")
            pages[f"fimg/compare-{repository.name}"] = repository.compared_to(origin)
    return {"fimg/brings": "; ".join(told), **{name: page for name, page in pages.items() if page}}


def _packages(wanted: Iterable[str], *, with_those_taken_in: bool) -> list[str]:
    """The packages that are ``wanted``, and those that images which are take in: a run before it may have made them."""
    found: dict[str, None] = {}
    for name in wanted:
        if name.startswith("package/"):
            found[name.removeprefix("package/")] = None
        elif with_those_taken_in:
            found |= dict.fromkeys(IMAGES[name].recipe.packages)
    return list(found)


def _left_to_make(attempt: Attempt, wanted: Iterable[str], records: Mapping[str, Record]) -> bool:
    """Whether something that is ``wanted`` was so in an earlier run already, and was not made since."""
    return any(
        name in attempt.wanted
        and name not in attempt.made
        and not (name in records and records[name].at > attempt.ended)
        for name in wanted
    )


def _brought(settings: Settings, plan: Plan, before: str) -> str:
    """The commits of FATE that a run brings after commit ``before``, the latest first; of none, what else changed."""
    fate = plan.source.fate
    if not before:
        return f"the first build, at {fate.ref}"
    if before == fate.commit:
        reasons = dict.fromkeys(image.reason for image in plan.buildable if image.reason.startswith("changed: "))
        return "; ".join(reasons) or "no new commit"
    return _came(settings, plan, fate, before) or f"back to {fate.commit[:12]}"


def _came(settings: Settings, plan: Plan, repository: RepositorySnapshot, since: str) -> str:
    """The commits of a repository after ``since``, the latest first; empty where there is none."""
    if repository.commit == since:
        return ""
    store = ObjectStore.open(settings.home, plan.source.object_directories)
    whole = store.has(f"{since}^{{commit}}")
    found = commits(store, repository.commit, since=since if whole else None, most=_COUNTED if whole else 1)
    told = [
        f"{commit.commit[:12]} {_short(commit.subject, _SUBJECT)} ({_short(commit.author, _AUTHOR)})"
        for commit in found[:_TOLD]
    ]
    more = len(found) - _TOLD
    if more > 0:
        told.append(f"and {more}{'' if len(found) < _COUNTED else ' or'} more")
    if not store.cuts.isdisjoint(commit.commit for commit in found):
        told.append(f"and perhaps others since {since[:12]}: the history here is cut")
    elif not whole:
        told.append(f"{since[:12]}, of which the last build was, is not known here any more")
    return "; ".join(told)


def _short(text: str, most: int) -> str:
    """At words where there are some; somebody's may have thousands of letters."""
    found = shorten(text, most, placeholder=" …")
    return f"{text[: most - 2]} …" if found.strip() == "…" else found
