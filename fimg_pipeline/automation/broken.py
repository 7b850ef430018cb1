"""Which platforms' tags are broken, by how runs ended and what was found, and what people are told of it. Pure.

A partition is broken from the first failure of something in it until all that failed there was made. Of that people get
one message, and one when it works again, however many runs fail in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

#: What failed, as it is called, where nobody can say what is to be built.
UNKNOWN: Final = "what it is built from"
#: So many things that failed are told of in a message.
_TOLD: Final = 5
#: So many bytes a message has beside its title and its link: WeCom takes 2048 of all, or nothing, and never says which.
_LONGEST: Final = 1600


@dataclass(frozen=True)
class Finished:
    """A run that is over. ``failed``: what of it did (``nginx``, ``package proxy``) with the first line that says why;
    ``made``: what was made or found. ``commit`` of FATE, and what it ``brings``.
    """

    run_id: str
    partition: str
    job: str
    failed: Mapping[str, str]
    made: frozenset[str]
    succeeded: bool
    commit: str = ""
    brings: str = ""


class Broken(BaseModel):
    """What failed in a partition and was not made since: name → first error line. ``run`` in which it began."""

    model_config = ConfigDict(frozen=True)

    failed: Annotated[dict[str, str], Field(min_length=1)]
    run: str
    commit: str = ""
    brings: str = ""


class Unknown(BaseModel):
    """Why nothing can be said of a partition; ``since`` (seconds since 1970) of what should pass by itself."""

    model_config = ConfigDict(frozen=True)

    why: str
    since: Annotated[float, Field(allow_inf_nan=False)] | None = None


class State(BaseModel):
    """What is known between two looks; ``seen``: until when runs were looked at, in seconds since 1970.

    ``lately``: the runs that were seen shortly before that, where others may turn up.

    ``looked``: when tags were last looked at; ``next``: the one to go on with. ``unknown``: of which partitions nothing
    could be said then, why, and since when, if that should pass by itself.

    ``untold`` are messages that could not be sent yet, and how often that was tried.
    """

    seen: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    lately: tuple[str, ...] = ()
    broken: dict[str, Broken] = {}
    looked: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    next: str = ""
    unknown: dict[str, Unknown] = {}
    untold: list[Message] = []


class Message(BaseModel):
    """A message to people, ``about`` partitions: that they broke, or that they ``work`` again.

    ``tries`` to send it so far; ``taken``: the services that took it, as
    :func:`~fimg_pipeline.automation.sending.service` calls them; ``due``: when to try it again, in seconds since 1970.
    """

    title: str
    body: str
    about: tuple[str, ...] = ()
    works: bool = False
    tries: int = 0
    taken: tuple[str, ...] = ()
    due: float = 0.0


State.model_rebuild()


def after(
    broken: Mapping[str, Broken],
    runs: Iterable[Finished],
    address: str,
    settled: Mapping[str, Collection[str]] | None = None,
) -> tuple[dict[str, Broken], list[Message]]:
    """What is broken after ``runs``, the earliest first, and what people are to be told.

    ``address`` of the web UI. ``settled``: what of a partition is as it should be by now, though no run made it: what
    broke it was taken back. Of what broke and was mended within the same look people are told nothing.
    """
    now = dict(broken)
    last: dict[str, Finished] = {}
    for run in runs:
        last[run.partition] = run
        before = now.pop(run.partition, None)
        left = _without(before.failed if before else {}, _mended(run))
        failed = {**left, **failures(run)}
        if failed:
            now[run.partition] = Broken(
                failed=failed,
                run=before.run if before else run.run_id,
                commit=before.commit if before else run.commit,
                brings=before.brings if before else run.brings,
            )
    for where, names in (settled or {}).items():
        if where in now:
            left = _without(now[where].failed, names)
            if left:
                now[where] = now[where].model_copy(update={"failed": left})
            else:
                del now[where]
    # What has one cause is one message: that FATE can't be read, of every tag.
    causes: dict[tuple[str, ...], list[str]] = {}
    for where, found in now.items():
        if where not in broken:
            causes.setdefault(_cause(where, found), []).append(where)
    messages = [breakage(places, now[places[0]], address) for places in causes.values()]
    mended = [where for where in broken if where not in now]
    by_run = [where for where in mended if where in last and last[where].succeeded]
    messages += [recovery([where], last[where], address) for where in by_run]
    if by_itself := [where for where in mended if where not in by_run]:
        messages.append(recovery(by_itself, None, address))
    return now, messages


def _cause(where: str, found: Broken) -> tuple[str, ...]:
    """What is equal for all that broke by the same: what says why may begin with the tag."""
    tag = where.rpartition("|")[2]
    return (found.run, *(f"{name} {why.replace(f'TAG={tag} ', '')}" for name, why in found.failed.items()))


def _without(failed: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: why for name, why in failed.items() if name not in names}


def failures(run: Finished) -> dict[str, str]:
    """What failed in a run, or that it did."""
    # A bundle that does not load fails no run.
    if run.failed or run.succeeded:
        return dict(run.failed)
    # A run that failed without a step of it saying so: it was killed, or never began.
    return {f"job {run.job}": "the run failed; its page says why"}


def _mended(run: Finished) -> frozenset[str]:
    return run.made | ({f"job {run.job}"} if run.succeeded else frozenset())


def breakage(places: Sequence[str], found: Broken, address: str) -> Message:
    """That ``places`` broke, all as the first of them was ``found``."""
    told: dict[str, list[str]] = {}
    for name, why in list(found.failed.items())[:_TOLD]:
        told.setdefault(why, []).append(name)
    lines = [f"{', '.join(names)}: {why}" for why, names in told.items()]
    if len(found.failed) > _TOLD:
        lines.append(f"and {len(found.failed) - _TOLD} more")
    if found.brings or found.commit:
        lines.append(f"with {found.brings or found.commit}")
    body = "\n".join([*_fitting([*lines, *_listed(places)]), _page(address, found.run)])
    title = f"fimg: {_spoken(places)} {'is' if len(places) == 1 else 'are'} broken"
    return Message(title=title, body=body, about=tuple(places))


def recovery(places: Sequence[str], run: Finished | None, address: str) -> Message:
    """That ``places`` work again, by ``run`` or by themselves."""
    body = _page(address, run.run_id) if run else "what broke was made or taken back, or can be looked at again"
    title = f"fimg: {_spoken(places)} {'works' if len(places) == 1 else 'work'} again"
    return Message(title=title, body="\n".join([*_fitting(_listed(places)), body]), about=tuple(places), works=True)


def _fitting(lines: Sequence[str]) -> list[str]:
    """Lines that are short enough for every service, the longest of them cut."""
    found = list(lines)
    while sum(len(line.encode()) + 1 for line in found) > _LONGEST:
        place = max(range(len(found)), key=lambda each: len(found[each].encode()))
        found[place] = f"{found[place][: len(found[place]) * 3 // 4]}…"
    return found


def _page(address: str, run: str) -> str:
    """Where more is to be seen: of no run, how all stands."""
    return f"{address}/runs/{run}" if run else f"{address}/assets/overview"


def _spoken(places: Sequence[str]) -> str:
    return _name(places[0]) if len(places) == 1 else f"{_name(places[0])} and {len(places) - 1} more"


def _listed(places: Sequence[str]) -> list[str]:
    return [", ".join(map(_name, places))] if len(places) > 1 else []


def _name(partition: str) -> str:
    platform, _, tag = partition.rpartition("|")
    return f"{tag} for {platform}" if platform else tag
