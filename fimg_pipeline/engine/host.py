"""The machine the pipeline runs on: its tools, packages and long commands.

Bootstrapping base images and registering emulation need a few Debian tools and root. Whatever is installed is
announced first; where it can't be installed, the error says what to do by hand.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.errors import FimgError
from fimg_pipeline.state import locked
from fimg_pipeline.values import redacted

#: Receives one line for the user about something that takes time or changes the machine.
Say = Callable[[str], None]

#: Shared with ``scripts/ensure-engine``, so that two starters don't race for dpkg's lock.
_APT_LOCK: Final = Path("/run/lock/fimg-apt.lock")
_MACHINES: Final[Mapping[str, Platform]] = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
}
_TAIL_LINES: Final = 15


class HostError(FimgError):
    """The machine lacks something, or a command on it failed."""


def as_architecture(machine: str) -> Platform:
    """Docker's name of what ``uname -m`` or ``docker info`` calls ``machine``."""
    try:
        return _MACHINES[machine]
    except KeyError:
        raise HostError(
            f"machine type {machine!r} is not supported", hint="use a Docker engine on amd64 or arm64"
        ) from None


def host_architecture() -> Platform:
    return as_architecture(platform.machine())


def find_command(name: str) -> str | None:
    """Path of a command, also when ``PATH`` leaves out the system administrator's folders, as a user's does."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


def require_root(purpose: str) -> None:
    if os.geteuid() != 0:
        raise HostError(f"{purpose} needs root", hint="run the same command as root (sudo -E …)")


def require_command(name: str, packages: Sequence[str], *, purpose: str, say: Say) -> str:
    """Path of ``name``; installs the Debian ``packages`` when it is missing."""
    found = find_command(name)
    if found is None:
        install_packages(packages, purpose=purpose, say=say)
        found = find_command(name)
    if found is None:
        raise HostError(
            f"{' '.join(packages)} installed, but the command {name} is still missing",
            hint=f"install {name} by hand; it is needed for {purpose}",
        )
    return found


def install_packages(packages: Sequence[str], *, purpose: str, say: Say) -> None:
    """Installs Debian packages on this machine.

    A failing ``apt-get update`` is not the end: one unreachable third-party repository fails it, while the
    distribution's own lists are fine. What counts is whether the packages can then be installed.
    """
    wanted = " ".join(packages)
    apt = find_command("apt-get")
    if apt is None or os.geteuid() != 0:
        missing = "this is no Debian or Ubuntu" if apt is None else "that needs root"
        raise HostError(
            f"{purpose} needs {wanted}, which can't be installed: {missing}",
            hint=f"install {wanted} with the system's package manager and run this again",
        )
    say(f"installing {wanted} (for {purpose})")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    options = ["-o", "DPkg::Lock::Timeout=300"]
    with locked(_APT_LOCK):
        update = _captured([apt, *options, "update"], environment)
        install = _captured([apt, *options, "install", "-y", "--no-install-recommends", *packages], environment)
    if install.returncode != 0:
        raise HostError(
            f"apt-get could not install {wanted}:\n{tail(update.stdout + install.stdout)}",
            hint=f"install {wanted} by hand and run this again",
        )


def run_logged(
    command: Sequence[str],
    log: Path,
    *,
    what: str,
    hint: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs ``command`` with its output appended to ``log``; a failure quotes the end of what it wrote."""
    with log.open("ab") as output:
        start = output.tell()
        finished = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if finished.returncode != 0:
        written = log.read_bytes()[start:].decode(errors="replace")
        raise HostError(f"{what} failed (exit {finished.returncode}):\n{tail(written)}", hint=hint)


def contained(command: Sequence[str]) -> list[str]:
    """``command`` in mount and process namespaces of its own, tied to the life of the thread that starts it.

    A bootstrap mounts ``/proc`` inside the tree it makes. Killed half-way it would leave the mount, and the next run's
    clean-up would reach the host's ``/proc`` through it. In a namespace all of it ends with the first process, and
    that one ends with its parent, even on SIGKILL.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--propagation", "private", "--pid", "--mount-proc", "--fork", "--kill-child"),
        "--",
        *command,
    ]


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last non-empty lines of ``text``, indented, without the passwords of mirror URLs."""
    kept = [line for line in redacted(text).splitlines() if line.strip()][-lines:]
    return "\n".join(f"    {line}" for line in kept)


def _captured(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        errors="replace",
        check=False,
    )
