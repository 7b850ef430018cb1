"""A second Docker engine, empty, in a container on the first: what is loaded into it harms nobody's images."""

from __future__ import annotations

import os
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker.errors
from docker.types import Mount

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.dockerfiles import recipe_files
from fimg_pipeline.engine.bases import ensure_base
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.context import file_from_disk
from fimg_pipeline.engine.errors import EngineError
from fimg_pipeline.engine.tools import build_tool
from fimg_pipeline.settings import Settings
from fimg_pipeline.state import held, is_left_behind

#: Below ``dockerfiles/``.
RECIPE: Final = "engine"
_READY_SECONDS: Final = 60
_PIECE: Final = 1 << 20
_NAME: Final = "fimg-second-"
#: What an engine needs to unpack images. Less than a privileged container, which an
#: engine that is in a container itself may not be able to give.
RIGHTS: Final[Mapping[str, Any]] = {
    "cap_add": ["SYS_ADMIN", "NET_ADMIN"],
    "security_opt": ["apparmor=unconfined", "seccomp=unconfined"],
    "cgroupns": "host",
    "tmpfs": {"/run": ""},
}
#: Its own images are on a volume: an engine can't keep them on top of another's.
IMAGES_VOLUME: Final = "/var/lib/docker"


def second_image(engine: Engine, settings: Settings, log: Callable[[str], None]) -> str:
    """The image of the second engine, built if it is not there."""
    debian = ensure_base(BASES["debian"], engine.platform, settings, engine, log=log).local
    files = [file_from_disk(name, file) for name, file in recipe_files(RECIPE).items()]
    return build_tool("engine", files, engine.platform, engine, settings, {"BASE_DEBIAN": debian}, log)


@dataclass(frozen=True)
class SecondEngine:
    """A started engine, by its container; its own client is in there too."""

    container: Any

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Runs a command in its container: status and output."""
        done = self.container.exec_run(list(command))
        return int(done.exit_code), done.output.decode("utf-8", "replace")


@contextmanager
def second_engine(engine: Engine, image: str, mounts: Mapping[Path, str], home: Path) -> Iterator[SecondEngine]:
    """Starts one for the block. ``mounts``: folders with files, by where they are to be read in there.

    An engine that is elsewhere is sent their files. ``home`` keeps which are in use, so that those of killed processes
    are removed. Raises :class:`EngineError` when it does not start: an engine without rights over its machine can't
    have a second.
    """
    kept = home / "second"
    _sweep(engine, kept)
    name = f"{_NAME}{uuid.uuid4().hex[:12]}"
    with held(kept / name):
        yield from _started(engine, image, mounts, name)


def _sweep(engine: Engine, kept: Path) -> None:
    """Removes engines whose process was killed."""
    for container in engine.sdk.containers.list(all=True, filters={"name": f"^/?{_NAME}"}, ignore_removed=True):
        lock = kept / str(container.name)
        if is_left_behind(lock):
            with suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
            lock.unlink(missing_ok=True)


def _started(engine: Engine, image: str, mounts: Mapping[Path, str], name: str) -> Iterator[SecondEngine]:
    shared = mounts if engine.sees_our_files else {}
    try:
        container = engine.sdk.containers.create(
            image,
            ["--bridge=none", "--iptables=false"],
            name=name,
            network_mode="none",
            volumes=[IMAGES_VOLUME],
            # Unlike volumes, these are refused where the folder is not.
            mounts=[Mount(place, str(folder), type="bind", read_only=True) for folder, place in shared.items()],
            **RIGHTS,
        )
    except docker.errors.APIError as error:
        raise EngineError(f"no second engine can be made: {error.explanation or error}") from None
    try:
        for folder, place in mounts.items():
            if folder not in shared:
                container.put_archive("/", _archive(folder, place.strip("/")))
        container.start()
        second = SecondEngine(container)
        deadline = time.monotonic() + _READY_SECONDS
        while second.run(["docker", "version"])[0] != 0:
            container.reload()
            if container.status != "running" or time.monotonic() > deadline:
                said = container.logs(tail=5).decode("utf-8", "replace").strip()
                raise EngineError(f"the second engine did not start: {said}")
            time.sleep(0.2)
        yield second
    except docker.errors.APIError as error:
        raise EngineError(f"the second engine did not start: {error.explanation or error}") from None
    finally:
        container.remove(force=True, v=True)


def _archive(folder: Path, place: str) -> Iterator[bytes]:
    """A tar of a folder's files below ``place``, made while it is sent."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as content:
                member = tarfile.TarInfo(f"{place}/{file.relative_to(folder)}")
                member.size, member.mode = os.fstat(content.fileno()).st_size, 0o644
                yield member.tobuf()
                left = member.size
                while left:
                    piece = content.read(min(left, _PIECE))
                    if not piece:
                        raise EngineError(f"{file} became shorter while it was sent")
                    left -= len(piece)
                    yield piece
                yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
