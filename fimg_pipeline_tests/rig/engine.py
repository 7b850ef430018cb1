"""A second Docker engine of its own: to be killed, filled and thrown away without harm to the machine's."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fimg_pipeline.engine.client import Engine

_READY_SECONDS = 60
#: Addresses from the block reserved for documentation: no machine has a route to it. One small network per bridge.
_BRIDGES = {f"fimg-test{number}": f"198.51.100.{4 * number + 1}/30" for number in range(64)}


@dataclass
class SecondEngine:
    """``dockerd`` below ``folder``; builds on it use the host's network.

    It gets a bridge of its own, which nothing uses: with ``--bridge=none`` it would remove ``docker0``, the bridge of
    the machine's engine.
    """

    folder: Path
    _bridge: str | None = field(default=None, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "docker.pid").unlink(missing_ok=True)
        if self._bridge is None:
            self._bridge = _new_bridge()
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    f"--host={self.host}",
                    f"--data-root={self.folder}/data",
                    f"--exec-root={self.folder}/exec",
                    f"--pidfile={self.folder}/docker.pid",
                    f"--bridge={self._bridge}",
                    "--iptables=false",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while subprocess.run([*self.client, "version"], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline or self._process.poll() is not None:
                said = (self.folder / "dockerd.log").read_text()
                raise RuntimeError(f"the second engine did not start: {said[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """``kill -9``: what it was doing is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        # Its containerd outlives it; a dead one that nobody reaped still looks alive by its pid.
        pid_file = self.folder / "exec/containerd/containerd.pid"
        with suppress(FileNotFoundError):
            subprocess.run(["kill", "-9", pid_file.read_text()], check=False, capture_output=True)
            pid_file.unlink()

    def stop(self) -> None:
        """Ends it properly."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=60)
        if self._bridge is not None:
            _ip("link", "delete", self._bridge)
            self._bridge = None
        # What a killed one had mounted is nobody's any more, and would keep the folder from being removed.
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            mounted = line.split()[1]
            if mounted.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)

    @property
    def client(self) -> list[str]:
        return [Engine().cli, "--host", self.host]

    def load(self, reference: str) -> None:
        """Copies an image from the machine's engine."""
        with subprocess.Popen([Engine().cli, "save", reference], stdout=subprocess.PIPE) as save:
            subprocess.run([*self.client, "load"], stdin=save.stdout, check=True, capture_output=True)
            if save.wait() != 0:
                raise RuntimeError(f"{reference} can't be saved")


def _new_bridge() -> str:
    """Makes a bridge of a name that nobody else has."""
    for name, address in _BRIDGES.items():
        if Path(f"/sys/class/net/{name}").exists():
            continue
        with suppress(subprocess.CalledProcessError):  # somebody else was faster
            _ip("link", "add", "name", name, "type", "bridge")
            _ip("address", "add", address, "dev", name)
            return name
    raise RuntimeError("all bridges for second engines are in use: ip link delete fimg-test0 …")


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError("the command `ip` is missing: apt-get install iproute2") from None


@contextmanager
def second_engine() -> Iterator[SecondEngine]:
    """A started engine in a folder with a short name: the paths of its sockets may have 107 characters."""
    if os.geteuid() != 0:
        raise RuntimeError("a second Docker engine needs root: run the tests as root (sudo -E make test)")
    with tempfile.TemporaryDirectory(prefix="fimg-", ignore_cleanup_errors=True) as folder:
        engine = SecondEngine(Path(folder))
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()
