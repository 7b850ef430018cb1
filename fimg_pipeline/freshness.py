"""How new what comes from outside has to be: since when a tag is built anew, and which digests bases are to have.

Kept in a file below the state folder. What is planned follows from it like from source and recipes, so whatever fails
on the way to something newer is asked for again like any change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from fimg_pipeline.errors import FimgError
from fimg_pipeline.state import locked, write_whole


class Freshness(BaseModel):
    """What is kept.

    ``refreshed``: tag → :func:`moment` since which it is to be built without a cache; ``due``: likewise, once nothing
    is under way. Of external bases, by their local
    names: ``newest`` the digest a registry was last seen to have, ``wanted`` the one that builds stand on, ``renewed``
    when they were last pulled or made, or that was last tried in vain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    refreshed: Mapping[str, str] = {}
    due: Mapping[str, str] = {}
    newest: Mapping[str, str] = {}
    wanted: Mapping[str, str] = {}
    renewed: Mapping[str, str] = {}


#: Nothing has to be newer than it is.
AS_IT_IS: Final = Freshness()


def moment(at: datetime) -> str:
    """A time as it is kept: those that come later are greater."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(home: Path) -> Freshness:
    """What is kept below the state folder ``home``; :class:`FimgError` if it is damaged."""
    file = _file(home)
    try:
        return Freshness.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return AS_IT_IS
    except OSError as error:
        raise FimgError(f"{file} can't be read: {error.strerror}") from None
    except ValidationError:
        raise FimgError(
            f"{file} is damaged", hint="move it away: bases are looked at again, and tags built as they were first"
        ) from None


def refresh(home: Path, tags: Mapping[str, str]) -> None:
    """Has ``tags`` built without a cache, if they were not since the moment each stands with."""
    _change(
        home,
        lambda kept: {
            "refreshed": {**kept.refreshed, **tags},
            "due": {tag: since for tag, since in kept.due.items() if tag not in tags},
        },
    )


def refresh_later(home: Path, tags: Mapping[str, str]) -> None:
    """Keeps that ``tags`` are to be refreshed, when :func:`refresh_due` is called."""
    _change(home, lambda kept: {"due": {**kept.due, **tags}})


def refresh_due(home: Path) -> None:
    """Refreshes what is due."""
    if read(home).due:
        _change(home, lambda kept: {"refreshed": {**kept.refreshed, **kept.due}, "due": {}})


def forget(home: Path, tag: str) -> None:
    """Has ``tag`` stand for what it is built from alone again."""
    _change(home, lambda kept: {"refreshed": _without(kept.refreshed, tag), "due": _without(kept.due, tag)})


def seen(home: Path, newest: Mapping[str, str]) -> None:
    """Keeps the digests that registries were seen to have, by local names of bases."""
    _change(home, lambda kept: {"newest": {**kept.newest, **newest}})


def accept(home: Path) -> None:
    """Has builds stand on the newest bases that were seen."""
    _change(home, lambda kept: {"wanted": {**kept.wanted, **kept.newest}})


def renewed(home: Path, base: str, digest: str | None) -> None:
    """Keeps that ``base`` (its local name) was pulled as ``digest``, or made (``None``), now."""

    def change(kept: Freshness) -> dict[str, Mapping[str, str]]:
        known = {} if digest is None else {base: digest}
        return {
            "renewed": {**kept.renewed, base: _now(kept)},
            "wanted": {**_without(kept.wanted, base), **known},
            "newest": {**_without(kept.newest, base), **known},
        }

    _change(home, change)


def stays(home: Path, base: str) -> None:
    """Has builds stand on ``base`` as it is, since no newer one could be had, until that is decided again."""
    _change(
        home,
        lambda kept: {"renewed": {**kept.renewed, base: _now(kept)}, "wanted": _without(kept.wanted, base)},
    )


def _now(kept: Freshness) -> str:
    """Whatever the clock says: what was decided before is done by what comes after."""
    return max([moment(datetime.now(timezone.utc)), *kept.refreshed.values()])


def _without(kept: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in kept.items() if key != name}


def _change(home: Path, change: Callable[[Freshness], Mapping[str, Mapping[str, str]]]) -> None:
    file = _file(home)
    with locked(file.with_suffix(".lock")):
        kept = read(home)
        new = kept.model_copy(update=dict(change(kept)))
        if new != kept or not file.exists():
            write_whole(file, new.model_dump_json(indent=2) + "\n")


def _file(home: Path) -> Path:
    return home / "freshness.json"
