"""Running another architecture's programs: the kernel's binfmt_misc with QEMU's user emulation.

``RUN`` steps of a foreign image need it. What counts is the kernel the engine runs on; this module looks at, and
registers with, the kernel of this machine, which is the engine's unless ``DOCKER_HOST`` points elsewhere.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.host import (
    HostError,
    Say,
    find_command,
    host_architecture,
    install_packages,
    require_root,
)
from fimg_pipeline.state import locked

#: Where the kernel lists its handlers, when binfmt_misc is mounted.
BINFMT_MISC: Final = Path("/proc/sys/fs/binfmt_misc")
#: Where Debian's qemu-user-static keeps the lines to register.
BINFMT_CONFIG: Final = Path("/usr/lib/binfmt.d")
_LOCK: Final = Path("/run/lock/fimg-binfmt.lock")
_PACKAGE: Final = "qemu-user-static"
_HANDLERS: Final[Mapping[Platform, str]] = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
_MAGIC_FLAGS: Final = "OPF"


class EmulationError(HostError):
    """Programs of an architecture can't be run on this machine."""


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
    raise EmulationError(
        f"{handler}.conf holds no registration of {handler}",
        hint=f"reinstall {_PACKAGE} (apt-get install --reinstall {_PACKAGE})",
    )


def is_runnable(arch: Platform, native: Platform, *, binfmt: Path = BINFMT_MISC) -> bool:
    """Whether programs of ``arch`` run in images on a kernel of ``native``: by itself, or through a handler."""
    if arch == native:
        return True
    try:
        return parse_handler((binfmt / _HANDLERS[arch]).read_text()).works_in_images
    except OSError:
        return False


def ensure_emulation(arch: Platform, *, say: Say, native: Platform | None = None) -> None:
    """Makes programs of ``arch`` runnable in images, installing and registering QEMU when they are not.

    The registration lasts until the machine restarts; ``native`` defaults to this machine's architecture.
    """
    here = native or host_architecture()
    if is_runnable(arch, here):
        return
    purpose = f"running {arch} programs on {here}"
    if here != host_architecture():
        raise EmulationError(
            f"the Docker engine is another machine ({here}) and can't run {arch} programs",
            hint=f"register QEMU there: docker run --privileged --rm tonistiigi/binfmt --install {arch}",
        )
    require_root(purpose)
    with locked(_LOCK):
        if not is_runnable(arch, here):
            _register(arch, purpose=purpose, say=say)


def _register(arch: Platform, *, purpose: str, say: Say) -> None:
    handler = _HANDLERS[arch]
    config = BINFMT_CONFIG / f"{handler}.conf"
    if not config.is_file():
        install_packages([_PACKAGE], purpose=purpose, say=say)
    if not config.is_file():
        raise EmulationError(
            f"{_PACKAGE} is installed, but there is no {config}",
            hint="register QEMU by hand: docker run --privileged --rm tonistiigi/binfmt --install " + arch,
        )
    _mount_binfmt()
    line = registration(config.read_text(), handler)
    entry = BINFMT_MISC / handler
    say(f"registering {handler} with the kernel (for {purpose})")
    try:
        if entry.exists():
            # Registered, but disabled or without flag F: -1 removes the entry, so that it can be made anew.
            entry.write_text("-1")
        (BINFMT_MISC / "register").write_text(line)
    except OSError as error:
        raise EmulationError(
            f"the kernel refuses to register {handler}: {error.strerror}",
            hint="in a container this needs --privileged; otherwise register QEMU on the host",
        ) from error
    if not is_runnable(arch, host_architecture()):
        raise EmulationError(
            f"{handler} is registered, but not enabled", hint=f"echo 1 > {BINFMT_MISC / 'status'}, then run this again"
        )


def _mount_binfmt() -> None:
    if (BINFMT_MISC / "register").exists():
        return
    if modprobe := find_command("modprobe"):
        # Built into many kernels, where this fails without harm: the mount below decides.
        subprocess.run([modprobe, "-q", "binfmt_misc"], check=False)
    mounted = subprocess.run(
        ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT_MISC)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        raise EmulationError(
            f"binfmt_misc can't be mounted on {BINFMT_MISC}: {mounted.stderr.strip()}",
            hint="the kernel needs CONFIG_BINFMT_MISC; in a container, register QEMU on the host",
        )
