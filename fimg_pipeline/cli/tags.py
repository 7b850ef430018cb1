"""``fimg tag``: which tags there are, and what of FATE each stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any, Final

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fimg_pipeline import freshness
from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.partitions import add_tag, known_tags, remove_tag
from fimg_pipeline.automation.watching import unfinished_runs
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.resolve import Standing, standing
from fimg_pipeline.source.store import Remotes
from fimg_pipeline.source.tags import forget, record, recorded, ref_by_name, ref_of
from fimg_pipeline.values.names import tag_problem

#: So much of a commit's subject is shown in the table.
_SUBJECT: Final = 80


@dataclass(frozen=True)
class Known:
    """A tag, the ref it stands for (``None``: FATE_DIR as it stands), and where that is, or why it is nowhere.

    ``before``: in words, what it stood for until now, if that was something else.
    """

    tag: str
    ref: str | None
    at: Standing | FimgError
    before: str = ""


def add(settings: Settings, tag: str, ref: str | None) -> Known:
    """Has ``tag`` stand for ``ref`` and makes it a partition; :class:`FimgError` where there is no such ref."""
    meant = ref or ref_by_name(tag)
    at = standing(replace(settings, tag=tag), meant)
    meant = at.lasting or meant
    added = recorded(settings.home)
    before = _spoken(added[tag]) if tag in added and added[tag] != meant else ""
    record(settings.home, tag, meant)
    if before:
        # That was of what it stood for.
        freshness.forget(settings.home, tag)
    with open_instance(settings) as instance:
        add_tag(instance, tag)
    return Known(tag, meant, at, before)


def remove(settings: Settings, tag: str) -> None:
    """Forgets ``tag``, which is no partition any more; images that have it stay. :class:`FimgError` if unknown."""
    if tag == settings.tag:
        raise FimgError(f"{tag} is the configured tag, which is always there", hint="set TAG to another one first")
    with open_instance(settings) as instance:
        close_abandoned_runs(instance)
        if run := next((run for run in unfinished_runs(instance) if _tag_of(run) == tag), None):
            raise FimgError(
                f"a run for {tag} is waiting or under way ({run.run_id[:8]}): what it makes would not be recorded",
                hint="wait for its end, or terminate it in the web UI",
            )
        freshness.forget(settings.home, tag)
        # In this order: of what is recorded, a tick makes a partition.
        was_recorded = forget(settings.home, tag)
        if not remove_tag(instance, tag) and not was_recorded:
            raise FimgError(
                f"there is no tag {tag}", hint=f"tags are: {', '.join(_tags(settings, known_tags(instance)))}"
            )


def listed(settings: Settings) -> list[Known]:
    """All tags: those that are partitions, those that were added, and the configured one, which comes first."""
    with open_instance(settings) as instance:
        tags = _tags(settings, known_tags(instance))
    remotes = Remotes()
    return [
        Known(tag, ref, _where(settings, tag, ref, remotes)) for tag in tags for ref in [ref_of(settings.home, tag)]
    ]


def _tag_of(run: dg.DagsterRun) -> str:
    return run.tags.get("dagster/partition", "").rpartition("|")[2]


def _tags(settings: Settings, partitions: list[str]) -> list[str]:
    return list(dict.fromkeys([settings.tag, *partitions, *recorded(settings.home)]))


def _where(settings: Settings, tag: str, ref: str | None, remotes: Remotes) -> Standing | FimgError:
    # The web UI takes any partition that somebody adds.
    if problem := tag_problem(tag):
        return FimgError(f"{problem}: `fimg tag remove` takes it away")
    try:
        return standing(replace(settings, tag=tag), ref, remotes)
    except FimgError as error:
        return error


def _spoken(ref: str | None) -> str:
    return ref or "FATE_DIR as it stands"


def as_json(known: Known) -> dict[str, Any]:
    """One entry of ``fimg tag list --json``; scripts read it, so names only get added."""
    entry: dict[str, Any] = {"tag": known.tag, "ref": known.ref}
    if isinstance(known.at, FimgError):
        return {**entry, "commit": None, "problem": known.at.message}
    return {
        **entry,
        "commit": known.at.fate.commit,
        "dirty": known.at.fate.dirty,
        "followed": known.at.followed,
        "author": known.at.latest.author,
        "day": known.at.latest.day,
        "subject": known.at.latest.subject,
        "problem": None,
    }


def print_tags(tags: list[Known], console: Console) -> None:
    """Tags as a table, the configured one first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("tag", "stands for", "commit", "of", "what"):
        table.add_column(column, overflow="fold", no_wrap=column in ("tag", "commit", "of"))
    for known in tags:
        ref = _spoken(known.ref)
        if isinstance(known.at, FimgError):
            table.add_row(escape(known.tag), escape(ref), "[red]none[/]", "", f"[red]{escape(known.at.message)}[/]")
            continue
        commit = known.at.fate.commit[:12] + ("+" if known.at.fate.dirty else "")
        table.add_row(
            escape(known.tag),
            f"{escape(ref)} ({'followed' if known.at.followed else 'fixed'})",
            commit,
            known.at.latest.day,
            escape(shorten(known.at.latest.subject, _SUBJECT, placeholder=" …")),
        )
    console.print(table)
    for known in tags:
        if known.before:
            console.print(f"{escape(known.tag)} stood for {escape(known.before)} until now")
    if any(isinstance(known.at, Standing) and known.at.fate.dirty for known in tags):
        console.print("+ with uncommitted changes")
