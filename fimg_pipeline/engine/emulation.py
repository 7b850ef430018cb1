"""Running another architecture's programs: the kernel's binfmt_misc with QEMU's user emulation.

``RUN`` steps of a foreign image need it. What counts is the kernel the engine runs on, which may be another machine's.
Whether it knows how, a program of that architecture tells, which any engine may start; to teach it takes a container
with rights over the engine's machine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.dockerfiles import recipe_files
from fimg_pipeline.engine.client import TIMED_OUT, Engine
from fimg_pipeline.engine.context import ContextFile, file_from_disk
from fimg_pipeline.engine.errors import EngineError
from fimg_pipeline.engine.tools import build_tool
from fimg_pipeline.settings import Settings
from fimg_pipeline.state import locked

#: Below ``dockerfiles/``.
RECIPE: Final = "emulation"
_HANDLERS: Final[Mapping[Platform, str]] = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
_MAGIC_FLAGS: Final = "OPF"
_SECONDS: Final = 60

#: Per architecture its number in ELF headers and the instructions of exit(0).
_PROGRAMS: Final[Mapping[Platform, tuple[int, bytes]]] = {
    "amd64": (62, bytes.fromhex("31ff b83c000000 0f05")),  # xor edi, edi; mov eax, 60; syscall
    "arm64": (183, bytes.fromhex("000080d2 a80b80d2 010000d4")),  # mov x0, 0; mov x8, 93; svc 0
}
#: Registers the line ``$2`` as handler ``$1``; the kernel opens its interpreter in this container. By the engine's own
#: mount: kernels from 6.7 on forget every handler with the last mount, and this container's would be it. An entry that
#: is disabled, or can't be used in images, is removed, so that it can be made anew.
_REGISTER: Final = """
engine=$(pidof -s dockerd) || engine=1
misc=/proc/sys/fs/binfmt_misc
[ -e "/proc/$engine/root$misc/register" ] || nsenter --target "$engine" --mount sh -c \
    'modprobe -q binfmt_misc; mount -t binfmt_misc binfmt_misc "$0"' "$misc"
cd "/proc/$engine/root$misc"
[ ! -e "$1" ] || echo -1 >"$1"
printf %s "$2" >register
"""


class EmulationError(EngineError):
    """The engine can't run programs of an architecture."""


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


def program(arch: Platform) -> bytes:
    """The smallest ELF file of ``arch``: it ends at once, with status 0."""
    machine, code = _PROGRAMS[arch]
    address, headers = 0x400000, 64 + 56
    size = headers + len(code)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, address + headers, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, address, address, size, size, 0x1000) + code


def ensure_emulation(
    arch: Platform, engine: Engine, settings: Settings, *, debian: Callable[[], str], log: Callable[[str], None]
) -> None:
    """Makes programs of ``arch`` runnable in images, registering QEMU with the engine's kernel when they are not.

    ``debian`` gives a Debian image of the engine's own architecture. A registration lasts until the machine restarts.
    """
    if arch == engine.platform or runs(arch, engine, settings):
        return
    with locked(settings.home / "locks" / f"emulation-{arch}"):
        if runs(arch, engine, settings):
            return
        log(f"registering QEMU with the engine's kernel, for running {arch} programs on {engine.platform}")
        handler = _HANDLERS[arch]
        files = [file_from_disk(name, file) for name, file in recipe_files(RECIPE).items()]
        qemu = build_tool("emulation/qemu", files, engine.platform, engine, settings, {"BASE_DEBIAN": debian()}, log)
        _, config = engine.run(qemu, ["cat", f"/usr/lib/binfmt.d/{handler}.conf"], timeout=_SECONDS)
        command = ["sh", "-ec", _REGISTER, "sh", handler, registration(config, handler)]
        status, output = engine.run(qemu, command, timeout=_SECONDS, administers=True)
        if status != 0 or not runs(arch, engine, settings):
            raise EmulationError(
                f"{arch} programs don't run on the engine, and QEMU can't be registered with its kernel: "
                + (output.strip() or "what is registered does not run"),
                hint=f"on its machine: docker run --privileged --rm tonistiigi/binfmt --install {arch}",
            )


def runs(arch: Platform, engine: Engine, settings: Settings) -> bool:
    """Whether ``engine`` runs programs of ``arch`` in images."""
    files = [
        ContextFile("Dockerfile", b"FROM scratch\nCOPY program /\n"),
        ContextFile("program", program(arch), executable=True),
    ]
    image = build_tool("emulation/program", files, arch, engine, settings, {}, lambda _: None)
    status, output = engine.run(image, ["/program"], timeout=_SECONDS)
    if status == TIMED_OUT:
        # Nothing is known then, and what works must not be replaced.
        raise EmulationError(f"whether {arch} programs run can't be told: {output}", hint="the engine is overloaded")
    return status == 0
