"""Running another architecture's programs: the kernel's binfmt_misc with QEMU's user emulation.

``RUN`` steps of a foreign image need it. What counts is the kernel the engine runs on, which may be another machine's:
it is asked, and told, by a container with the engine's rights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.catalog.platforms import Platform, docker_platform
from fimg_pipeline.dockerfiles import recipe_files
from fimg_pipeline.engine.client import Engine, EngineError
from fimg_pipeline.engine.context import file_from_disk, tar_stream
from fimg_pipeline.engine.secrets import secret_files
from fimg_pipeline.settings import Settings
from fimg_pipeline.state import locked, scratch

#: Below ``dockerfiles/``.
RECIPE: Final = "emulation"
_IMAGE: Final = f"{LOCAL_NAMESPACE}/emulation"
_HANDLERS: Final[Mapping[Platform, str]] = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
_MAGIC_FLAGS: Final = "OPF"
_SECONDS: Final = 60

#: What the kernel says of the handler ``$1``; nothing when it has none of that name. By the engine's own mount: kernels
#: from 6.7 on forget every handler with the last mount, and this container's would be it.
_ASK: Final = """
engine=$(pidof -s dockerd) || engine=1
misc=/proc/sys/fs/binfmt_misc
[ -e "/proc/$engine/root$misc/register" ] || nsenter --target "$engine" --mount mount -t binfmt_misc binfmt_misc "$misc"
cd "/proc/$engine/root$misc"
[ ! -e "$1" ] || cat "$1"
"""
#: Registers the line ``$2``, whose interpreter the kernel opens in this container. An entry that is disabled or lacks
#: flag F is removed, so that it can be made anew.
_TELL: Final = (
    _ASK
    + """
[ ! -e "$1" ] || echo -1 >"$1"
printf %s "$2" >register
"""
)


class EmulationError(EngineError):
    """The engine can't run programs of an architecture."""


@dataclass(frozen=True)
class Handler:
    """What the kernel says about one registered interpreter."""

    enabled: bool
    interpreter: str
    flags: str

    @property
    def works_in_images(self) -> bool:
        """Whether images can use it: only flag F opens the interpreter outside the image's own file system."""
        return self.enabled and "F" in self.flags


def parse_handler(text: str) -> Handler:
    """Reads ``/proc/sys/fs/binfmt_misc/<name>``."""
    lines = text.splitlines()
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    return Handler(
        enabled=bool(lines) and lines[0] == "enabled",
        interpreter=fields.get("interpreter", ""),
        flags=fields.get("flags:", ""),
    )


def registration(config: str, handler: str) -> str:
    """The line of a binfmt.d file that registers ``handler``, with the flags that images need.

    A line is ``:name:type:offset:magic:mask:interpreter:flags``, the colon being whatever character it starts with.
    """
    for line in config.splitlines():
        if not line.strip() or line.startswith(("#", ";")):
            continue
        fields = line[1:].split(line[0])
        if len(fields) == 7 and fields[0] == handler:
            return line[0] + line[0].join([*fields[:6], _MAGIC_FLAGS])
    raise EmulationError(f"Debian's qemu-user-static holds no registration of {handler}")


def ensure_emulation(
    arch: Platform, engine: Engine, settings: Settings, *, debian: Callable[[], str], log: Callable[[str], None]
) -> None:
    """Makes programs of ``arch`` runnable in images, registering QEMU with the engine's kernel when they are not.

    ``debian`` gives a Debian image of the engine's own architecture. A registration lasts until the machine restarts.
    """
    if arch == engine.platform:
        return
    handler, image = _HANDLERS[arch], debian()
    if _answer(engine, image, handler).works_in_images:
        return
    with locked(settings.home / "locks" / f"emulation-{arch}"):
        if _answer(engine, image, handler).works_in_images:
            return
        log(f"registering QEMU with the engine's kernel, for running {arch} programs on {engine.platform}")
        qemu = _build(engine, settings, image, log)
        config = _run(engine, qemu, ["cat", f"/usr/lib/binfmt.d/{handler}.conf"])
        _run(engine, qemu, ["sh", "-ec", _TELL, "sh", handler, registration(config, handler)])
        if not _answer(engine, image, handler).works_in_images:
            raise EmulationError(
                f"{handler} is registered with the engine's kernel, but not enabled",
                hint="on the engine's machine: echo 1 > /proc/sys/fs/binfmt_misc/status",
            )


def _answer(engine: Engine, image: str, handler: str) -> Handler:
    return parse_handler(_run(engine, image, ["sh", "-ec", _ASK, "sh", handler]))


def _run(engine: Engine, image: str, command: list[str]) -> str:
    status, output = engine.run(image, command, timeout=_SECONDS, administers=True)
    if status != 0:
        raise EmulationError(
            f"the engine's kernel can't be asked for other architectures' programs: {output.strip()}",
            hint="it needs binfmt_misc, and an engine that lets containers mount it; or register QEMU on its machine",
        )
    return output


def _build(engine: Engine, settings: Settings, debian: str, log: Callable[[str], None]) -> str:
    with scratch(settings.home) as folder:
        return engine.build(
            tar_stream(file_from_disk(name, file) for name, file in recipe_files(RECIPE).items()),
            dockerfile="Dockerfile",
            tag=f"{_IMAGE}:{engine.platform}",
            platform=docker_platform(engine.platform),
            build_args={"BASE_DEBIAN": debian},
            labels={},
            secrets=secret_files(folder, settings.ca_bundle, settings.network_variables),
            options=settings.docker_options,
            id_file=folder / "id",
            log=log,
        )
