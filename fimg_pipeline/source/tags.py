"""What tags stand for: a ref of FATE that was recorded for one, the one its name says, or FATE_DIR as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from fimg_pipeline.errors import FimgError
from fimg_pipeline.state import locked, write_whole
from fimg_pipeline.values.names import tag_problem
from fimg_pipeline.values.places import git_ref

_RELEASE_TAG: Final = re.compile(r"([0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9})-release")


def ref_by_name(tag: str) -> str | None:
    """The git ref a tag's name says: ``1.11.2-release`` → ``v1.11.2``; ``None``: none, FATE_DIR as it stands."""
    match = _RELEASE_TAG.fullmatch(tag)
    return f"v{match[1]}" if match else None


def release_tag(version: str) -> str:
    """The tag of a release, ``1.11.2-release``, whose name says which one it is."""
    return f"{version}-release"


def ref_of(home: Path, tag: str) -> str | None:
    """The git ref ``tag`` stands for; ``None``: FATE_DIR as it stands."""
    found = recorded(home)
    return found[tag] if tag in found else ref_by_name(tag)


def recorded(home: Path) -> dict[str, str | None]:
    """Tags below the state folder ``home`` and the ref each was recorded with; :class:`FimgError` if it is damaged."""
    file = _file(home)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FimgError(
            f"{file} can't be read: {error.strerror}", hint="set FIMG_HOME to a folder that is yours"
        ) from None
    except UnicodeDecodeError:
        text = ""
    try:
        found: dict[str, str | None] = json.loads(text)
        if not isinstance(found, dict) or any(tag_problem(tag) for tag in found):
            raise ValueError
        for ref in found.values():
            if ref is not None:
                git_ref(ref)
    except (ValueError, TypeError, RecursionError):
        raise FimgError(
            f"{file} is damaged: it is not a list of tags and refs", hint="move it away, and add the tags again"
        ) from None
    return found


def record(home: Path, tag: str, ref: str | None) -> None:
    """Has ``tag`` stand for ``ref`` from now on (``None``: FATE_DIR as it stands); both are checked values."""
    with locked(_file(home).with_suffix(".lock")):
        _write(home, {**recorded(home), tag: ref})


def forget(home: Path, tag: str) -> bool:
    """Whether something was recorded for ``tag``, which is no more."""
    with locked(_file(home).with_suffix(".lock")):
        found = recorded(home)
        if tag not in found:
            return False
        del found[tag]
        _write(home, found)
        return True


def _write(home: Path, tags: dict[str, str | None]) -> None:
    write_whole(_file(home), json.dumps(tags, indent=2, sort_keys=True) + "\n")


def _file(home: Path) -> Path:
    return home / "tags.json"
