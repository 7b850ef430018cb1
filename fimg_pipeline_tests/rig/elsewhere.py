"""An engine as of another machine, in a container on the first: reached by TCP with TLS, and by ssh."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from fimg_pipeline.engine.client import Engine
from fimg_pipeline_tests.rig.archive import archive
from fimg_pipeline_tests.rig.registry import Registry
from fimg_pipeline_tests.rig.standins import standin

_READY_SECONDS = 60
#: All but one right of a privileged container: machines that are containers themselves may lack that.
_LIKE_A_MACHINE = (
    "cap-add=ALL",
    "cap-drop=SYS_RESOURCE",
    "security-opt=apparmor=unconfined",
    "security-opt=seccomp=unconfined",
    "security-opt=systempaths=unconfined",
    "cgroupns=host",
    "volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "volume=/var/lib/docker",
    "tmpfs=/run",
    "publish=127.0.0.1::22",
    "publish=127.0.0.1::2376",
)


@dataclass(frozen=True)
class Elsewhere:
    """``tcp`` and ``ssh``: its addresses; ``environment`` of whoever speaks to it, with what lets them in."""

    tcp: str
    ssh: str
    environment: Mapping[str, str]
    container: Any

    def __call__(self, *arguments: str, given: bytes = b"") -> str:
        """Runs ``docker ARGUMENTS`` on it."""
        command = [Engine().cli, *arguments]
        own = {**self.environment, "DOCKER_HOST": self.tcp}
        done = subprocess.run(command, env=own, input=given, capture_output=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode()


@contextmanager
def elsewhere(hub: Registry, folder: Path, environment: Mapping[str, str]) -> Iterator[Elsewhere]:
    """A started one, empty, which reaches ``hub`` by its name here; gone with the block.

    ``folder``: where keys are written to.
    """
    engine = Engine()
    image = standin(engine, "engine", "localhost/fimg-test/engine:1")
    hub.container.reload()
    address = hub.container.attrs["NetworkSettings"]["IPAddress"]
    options = (f"--{option}" for option in _LIKE_A_MACHINE)
    arguments = [hub.name.rpartition(":")[2], f"{address}:5000"]
    # What the SDK has no words for: the files of the kernel that an engine's own containers are shown.
    made = subprocess.run(
        [engine.cli, "create", *options, image, *arguments], capture_output=True, text=True, check=True
    )
    container = engine.sdk.containers.get(made.stdout.strip())
    try:
        container.put_archive("/", archive({**_tls(folder), "root/.ssh/authorized_keys": _ssh_key(folder)}))
        container.start()
        container.reload()
        found: Any = container.ports
        tls, ssh = (int(found[f"{port}/tcp"][0]["HostPort"]) for port in (2376, 22))
        own = {
            **environment,
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(folder),
            "PATH": f"{_ssh(folder)}:{environment['PATH']}",
        }
        other = Elsewhere(f"tcp://127.0.0.1:{tls}", f"ssh://root@127.0.0.1:{ssh}", own, container)
        _wait(other)
        yield other
    finally:
        container.remove(force=True, v=True)


def _tls(folder: Path) -> dict[str, bytes]:
    """The engine's files; the client's are written to ``folder``, by the names that docker knows them by."""
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@fimg.invalid")
    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "cert.pem").write_bytes(client.cert_chain_pems[0].bytes())
    (folder / "key.pem").write_bytes(client.private_key_pem.bytes())
    return {
        "tls/ca.pem": authority.cert_pem.bytes(),
        "tls/cert.pem": server.cert_chain_pems[0].bytes(),
        "tls/key.pem": server.private_key_pem.bytes(),
    }


def _ssh_key(folder: Path) -> bytes:
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key.with_suffix(".pub").read_bytes()


def _ssh(folder: Path) -> Path:
    """A folder for PATH whose ssh has that key: the real one looks for keys in the user's own folder only."""
    own = folder / "bin"
    own.mkdir()
    program = own / "ssh"
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -i "{folder}/id_ed25519" {options} "$@"\n')
    program.chmod(0o755)
    return own


def _wait(other: Elsewhere) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            other("version")
        except AssertionError:
            other.container.reload()
            said = other.container.logs(tail=20).decode("utf-8", "replace")
            assert other.container.status == "running" and time.monotonic() < deadline, said
            time.sleep(0.5)
        else:
            return
