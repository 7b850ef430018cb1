"""FATE's source, as the settings have it: a checkout, what TAG stands for in it, submodules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fimg_pipeline.doctor.findings import Finding, Verdict, wrong
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.planner import needed_packages
from fimg_pipeline.plan.selection import select
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.resolve import resolve
from fimg_pipeline.source.store import Remotes

#: So long (seconds) a repository that has to be fetched is waited for.
_PATIENCE: Final = 60.0


def source(settings: Settings) -> Iterator[Finding]:
    """Whatever a build with these settings would read."""
    packages = needed_packages(select(settings.features), settings.platform)
    try:
        found = resolve(settings, packages, remotes=Remotes(_PATIENCE))
    except FimgError as error:
        yield wrong("source", error)
        return
    what = f"FATE {found.version}: {found.fate.ref} at {found.fate.commit[:12]} in {settings.fate_dir}"
    yield Finding("source", Verdict.OK, f"{what}; {len(found.repositories)} repositories")
    if found.dirty:
        yield Finding(
            "source",
            Verdict.NOTE,
            "there are changes that are not committed: `fimg build` builds them, sensors and schedules wait",
        )
    if not found.requirements_date_certain:
        yield Finding(
            "source",
            Verdict.WARNING,
            "its history is cut: since when FATE's requirement files are as they are can't be said",
            f"git -C {settings.fate_dir} fetch --unshallow",
        )
