"""One source per run: who resolves first writes it down, the others take what it found.

Steps are processes of their own, minutes apart; without this a commit that arrives in between would be half in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.model import PackagePart, PackageSource, RepositorySnapshot, SourceSnapshot
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.state import locked, write_whole


def resolve_once(settings: Settings, packages: Iterable[str], key: str) -> SourceSnapshot:
    """As :func:`fimg_pipeline.source.resolve.resolve`, every repository as the first user of ``key`` found it."""
    names = sorted(set(packages))
    folder = settings.home / "sources" / key / settings.tag
    with locked(folder / "lock"):
        earlier = _written(folder)
        for snapshot in earlier:
            if snapshot.packages.keys() >= set(names):
                return snapshot.only(names)
        pins = {name: found for snapshot in earlier for name, found in snapshot.repositories.items()}
        snapshot = resolve(settings, names, pins=pins)
        write_whole(folder / f"{len(earlier)}.json", json.dumps(asdict(snapshot)))
        return snapshot


def keep(home: Path, tag: str, key: str, snapshot: SourceSnapshot) -> None:
    """Has every user of ``key`` find ``snapshot``, unless it was used before."""
    folder = home / "sources" / key / tag
    with locked(folder / "lock"):
        try:
            is_known = bool(_written(folder))
        except FimgError:
            # Whoever asks again means the same.
            for file in folder.glob("*.json"):
                file.unlink()
            is_known = False
        if not is_known:
            write_whole(folder / "0.json", json.dumps(asdict(snapshot)))


def _written(folder: Path) -> list[SourceSnapshot]:
    """What was found so far, the earliest first; :class:`FimgError` if it is damaged."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            found.append(from_json(json.loads(file.read_text(encoding="utf-8"))))
        except OSError as error:
            raise FimgError(f"{file} can't be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise FimgError(
                f"{file} is damaged: it does not say which source the run is of", hint="launch a new run"
            ) from None
    return found


def from_json(data: dict[str, Any]) -> SourceSnapshot:
    """The snapshot whose ``asdict`` is ``data``."""
    packages = {
        name: PackageSource(
            package["name"],
            package["content"],
            tuple(PackagePart(**part) for part in package["parts"]),
            tuple(package["missing"]),
        )
        for name, package in data["packages"].items()
    }
    # All of it, whatever fields there will be: what is left out here, later steps don't see.
    return SourceSnapshot(
        **{
            **data,
            "fate": RepositorySnapshot(**data["fate"]),
            "repositories": {name: RepositorySnapshot(**found) for name, found in data["repositories"].items()},
            "packages": packages,
            "object_directories": tuple(data["object_directories"]),
        }
    )
