"""``fimg tag``: which tags there are, and what of FATE each stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fimg_pipeline import freshness
from fimg_pipeline.assets.partitions import add_tag, known_tags, remove_tag
from fimg_pipeline.cli.instance import open_instance
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.resolve import Standing, standing
from fimg_pipeline.source.tags import forget, record, recorded, ref_by_name, ref_of


@dataclass(frozen=True)
class Known:
    """A tag, the ref it stands for (``None``: FATE_DIR as it stands), and where that is, or why it is nowhere."""

    tag: str
    ref: str | None
    at: Standing | FimgError


def add(settings: Settings, tag: str, ref: str | None) -> Known:
    """Has ``tag`` stand for ``ref`` and makes it a partition; :class:`FimgError` where there is no such ref."""
    meant = ref or ref_by_name(tag)
    at = standing(replace(settings, tag=tag), meant)
    record(settings.home, tag, meant)
    with open_instance(settings) as instance:
        add_tag(instance, tag)
    return Known(tag, meant, at)


def remove(settings: Settings, tag: str) -> None:
    """Forgets ``tag``, which is no partition any more; images that have it stay. :class:`FimgError` if unknown."""
    if tag == settings.tag:
        raise FimgError(f"{tag} is the configured tag, which is always there", hint="set TAG to another one first")
    with open_instance(settings) as instance:
        freshness.forget(settings.home, tag)
        was_partition = remove_tag(instance, tag)
        if not forget(settings.home, tag) and not was_partition:
            raise FimgError(
                f"there is no tag {tag}", hint=f"tags are: {', '.join(_tags(settings, known_tags(instance)))}"
            )


def listed(settings: Settings) -> list[Known]:
    """All tags: those that are partitions, those that were added, and the configured one, which comes first."""
    with open_instance(settings) as instance:
        tags = _tags(settings, known_tags(instance))
    return [Known(tag, ref, _where(settings, tag, ref)) for tag in tags for ref in [ref_of(settings.home, tag)]]


def _tags(settings: Settings, partitions: list[str]) -> list[str]:
    return list(dict.fromkeys([settings.tag, *partitions, *recorded(settings.home)]))


def _where(settings: Settings, tag: str, ref: str | None) -> Standing | FimgError:
    try:
        return standing(replace(settings, tag=tag), ref)
    except FimgError as error:
        return error


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
        ref = known.ref or "FATE_DIR as it stands"
        if isinstance(known.at, FimgError):
            table.add_row(escape(known.tag), escape(ref), "[red]none[/]", "", f"[red]{escape(known.at.message)}[/]")
            continue
        commit = known.at.fate.commit[:12] + ("+" if known.at.fate.dirty else "")
        table.add_row(
            escape(known.tag),
            f"{escape(ref)} ({'followed' if known.at.followed else 'fixed'})",
            commit,
            known.at.latest.day,
            escape(known.at.latest.subject),
        )
    console.print(table)
    if any(isinstance(known.at, Standing) and known.at.fate.dirty for known in tags):
        console.print("+ with uncommitted changes")
