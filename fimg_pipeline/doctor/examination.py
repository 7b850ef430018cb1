"""All of it, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from fimg_pipeline.doctor.engine import engine
from fimg_pipeline.doctor.findings import Finding, Verdict
from fimg_pipeline.doctor.machine import machine
from fimg_pipeline.doctor.nodes import nodes
from fimg_pipeline.doctor.services import services
from fimg_pipeline.doctor.source import source
from fimg_pipeline.settings import Settings

PARTS: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (machine, source, engine, services, nodes)


def examine(settings: Settings) -> Iterator[Finding]:
    """What is found, as it is found."""
    for part in PARTS:
        try:
            yield from part(settings)
        except OSError as error:
            where = error.filename2 or error.filename or "a file"
            hint = "free space and check permissions: of FIMG_HOME, and of what is read"
            yield Finding(part.__name__, Verdict.WRONG, f"{where}: {error.strerror}", hint)
