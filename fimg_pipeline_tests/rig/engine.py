"""A second Docker engine, in a container on the machine's: to be killed and thrown away without harm to that one."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.second import second_image
from fimg_pipeline.settings import load

_READY_SECONDS = 60
#: What an engine needs to start containers in its own. Less than a privileged container, which an engine that is in a
#: container itself may not be able to give.
_RIGHTS = (
    "--cap-add=SYS_ADMIN",
    "--cap-add=NET_ADMIN",
    "--security-opt=apparmor=unconfined",
    "--security-opt=seccomp=unconfined",
    "--security-opt=systempaths=unconfined",
    "--cgroupns=host",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
)


@dataclass(frozen=True)
class SecondEngine:
    """An engine by the name of its container, with its socket in ``folder``. Builds on it use the host's network."""

    name: str
    folder: Path

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def create(self, image: str) -> None:
        """Makes its container. Its images are on a volume, which survives :meth:`kill`."""
        _docker(
            "create",
            f"--name={self.name}",
            *_RIGHTS,
            "--tmpfs=/run",
            "--volume=/var/lib/docker",
            f"--volume={self.folder}:{self.folder}",
            image,
            f"--host={self.host}",
            f"--group={os.getgid()}",
            "--bridge=none",
            "--iptables=false",
        )

    def start(self) -> None:
        """Starts it and waits until it answers."""
        _docker("start", self.name)
        deadline = time.monotonic() + _READY_SECONDS
        while subprocess.run([*self.client, "version"], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline:
                logs = subprocess.run([Engine().cli, "logs", self.name], capture_output=True, text=True, check=False)
                raise RuntimeError(f"the second engine did not start: {logs.stderr[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """``kill -9``: what it was doing is lost."""
        _docker("kill", self.name)

    def remove(self) -> None:
        _docker("rm", "--force", "--volumes", self.name)

    @property
    def client(self) -> list[str]:
        return [Engine().cli, "--host", self.host]

    def load(self, reference: str) -> None:
        """Copies an image from the machine's engine."""
        with subprocess.Popen([Engine().cli, "save", reference], stdout=subprocess.PIPE) as save:
            subprocess.run([*self.client, "load"], stdin=save.stdout, check=True, capture_output=True)
            if save.wait() != 0:
                raise RuntimeError(f"{reference} can't be saved")


def _docker(*arguments: str) -> None:
    done = subprocess.run([Engine().cli, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"docker {arguments[0]} ended with {done.returncode}: {done.stderr}")


@contextmanager
def second_engine() -> Iterator[SecondEngine]:
    """A started engine in a folder with a short name: the paths of its sockets may have 107 characters."""
    image = second_image(Engine(), load(), lambda _line: None)
    with tempfile.TemporaryDirectory(prefix="fimg-") as folder:
        second = SecondEngine(f"fimg-test-{uuid.uuid4().hex}", Path(folder))
        second.create(image)
        try:
            second.start()
            yield second
        finally:
            second.remove()
