"""One source per run: who resolves first writes it down, the others take what it found.

Steps are processes of their own, minutes apart; without this a commit that arrives in between would be half in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from fimg_pipeline.catalog.packages import Repository
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.model import PackagePart, PackageSource, RepositorySnapshot, SourceSnapshot
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.state import locked


def resolve_once(settings: Settings, packages: Iterable[str], key: str) -> SourceSnapshot:
    """As :func:`fimg_pipeline.source.resolve.resolve`, every repository as the first user of ``key`` found it."""
    names = sorted(set(packages))
    folder = settings.home / "sources" / key
    digest = sha256(" ".join((settings.tag, *names)).encode()).hexdigest()[:16]
    known = folder / f"{digest}.json"
    with locked(folder / "lock"):
        if known.is_file():
            return from_json(json.loads(known.read_text()))
        pins: dict[Repository, RepositorySnapshot] = {}
        for earlier in sorted(folder.glob("*.json")):
            pins |= from_json(json.loads(earlier.read_text())).repositories
        snapshot = resolve(settings, names, pins=pins)
        temporary = known.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(snapshot)))
        temporary.replace(known)
        return snapshot


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
    return SourceSnapshot(
        fate=RepositorySnapshot(**data["fate"]),
        fate_env=data["fate_env"],
        requirements_date=data["requirements_date"],
        repositories={name: RepositorySnapshot(**repository) for name, repository in data["repositories"].items()},
        packages=packages,
        object_directories=tuple(data["object_directories"]),
    )
