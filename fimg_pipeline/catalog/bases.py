"""External base images: everything the recipes stand on that is not built here.

Each is named once, can be replaced by a mirror or bootstrapped without Docker Hub (``fimg bases``), and is kept on the
engine under a local name per architecture: an engine's image store holds one platform per name, so building amd64 and
arm64 side by side needs two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fimg_pipeline.catalog.platforms import Platform

#: Namespace of everything the pipeline keeps on an engine for itself. ``localhost/`` can never resolve to a public
#: registry, so a missing image is an error and never somebody else's image of that name.
LOCAL_NAMESPACE: Final = "localhost/fimg"

#: What FATE 1.11's pins ask for (numba 0.53, pandas 1.1.5 end at 3.9) and what fate.env names.
PYTHON_SERIES: Final = "3.8"


@dataclass(frozen=True)
class ExternalBase:
    """A base image by the name Docker Hub knows it by."""

    name: str
    reference: str
    purpose: str
    build_only: bool = False

    @property
    def build_arg(self) -> str:
        """The recipe's global ``ARG`` that receives it."""
        return f"BASE_{self.name.upper()}"

    @property
    def local_repository(self) -> str:
        return f"{LOCAL_NAMESPACE}/base/{self.reference.partition(':')[0]}"

    def local_reference(self, arch: Platform) -> str:
        """Where the engine keeps it: ``localhost/fimg/base/python:3.8-slim-bookworm-amd64``."""
        return f"{self.local_repository}:{self.reference.partition(':')[2]}-{arch}"


def pulled_name(local: str, digest: str) -> str:
    """The second name of a base that was pulled as ``digest``, beside its ``local`` one."""
    return f"{local}-{digest.replace(':', '-')}"


BASES: Final[Mapping[str, ExternalBase]] = MappingProxyType(
    {
        base.name: base
        for base in (
            ExternalBase("python", f"python:{PYTHON_SERIES}-slim-bookworm", "the Python every FATE image runs on"),
            ExternalBase("debian", "debian:bookworm-slim", "Java and nginx images; build stage of FATE Board"),
            # Scala 2.11 compiles on JDK 8 or 11, and bullseye is the last Debian with one; no image is based on it.
            ExternalBase("bullseye", "debian:bullseye-slim", "JDK 11 to compile Eggroll", build_only=True),
        )
    }
)
