"""Two parties of KubeFATE's own docker-deploy on this machine, on our images.

KubeFATE's files are taken from a checkout (``KUBEFATE_DIR``) as they are. What is changed in them is what their users
change too: ids and addresses of the parties, engines, registry and tag; and, since both parties are on one machine, the
subnet of each and the address its ports are published on. MySQL and RabbitMQ are Debian's (``rig/standins/``).
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.state import locked
from fimg_pipeline_tests.rig.machine import require_command
from fimg_pipeline_tests.rig.standins import standin

#: The branch for FATE 1.11.2, in a clone of KubeFATE (its own branch, or that of its origin).
BRANCHES: Final = ("develop-1.11.2", "origin/develop-1.11.2")
#: What KubeFATE calls ``RegistryURI``. No such host can exist, so nothing is ever pulled in place of what was built.
REGISTRY: Final = "fate-party.invalid"
STANDINS: Final = {"mysql": "mysql:8.0.28", "rabbitmq": "rabbitmq:3.8.3-management"}
#: Where services write what they do, by service; Spark's deployment has none of Eggroll's.
_LOGS: Final = {
    "fateflow": "/data/projects/fate/fateflow/logs",
    "nodemanager": "/data/projects/fate/eggroll/logs",
    "clustermanager": "/data/projects/fate/eggroll/logs",
}
_INTERFACE: Final = "fimg-party0"
_LOCK: Final = Path("/run/lock/fimg-party.lock")


@dataclass(frozen=True)
class Engines:
    """What KubeFATE's ``parties.conf`` calls computing, federation and storage, and cores for each party."""

    computing: str
    federation: str
    storage: str
    cores: int


EGGROLL: Final = Engines("Eggroll", "Eggroll", "Eggroll", 4)
#: Spark counts the arbiter's cores too: with few, jobs wait for ever.
SPARK_LOCAL: Final = Engines("Spark_local", "RabbitMQ", "LocalFS", 16)


@dataclass(frozen=True)
class Party:
    """One party: its id, the address others reach it at, and the folder of its Compose file."""

    number: int
    address: str
    folder: Path

    def compose(self, *arguments: str, timeout: float = 600) -> str:
        """``docker-compose`` in the party's folder; its output, or an error that has it."""
        command = ["docker-compose", "--project-name", f"confs-{self.number}", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False)
        output = done.stdout + done.stderr
        if done.returncode != 0:
            raise RuntimeError(f"party {self.number}: {' '.join(command)} ended with {done.returncode}:\n{output}")
        return output

    def up(self) -> None:
        """Creates the containers one after the other, then starts them.

        Several mount the same volumes, which the engine fills from the image when a container is created; when two do
        that at once, one of them can fail: "mkdir …: file exists".
        """
        for service in self.compose("config", "--services").split():
            self.compose("up", "--no-start", "--no-deps", service)
        self.compose("up", "--detach", timeout=900)

    def execute(self, service: str, command: str, *, timeout: float = 600) -> str:
        """Runs a shell command in a service's container; its output, or an error that has it."""
        return self.compose("exec", "-T", service, "bash", "-c", command, timeout=timeout)

    def leave_logs(self, folder: Path) -> None:
        """What the containers have said, and what FATE Flow and Eggroll have written of each job, in ``folder``."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "containers.log").write_text(self.compose("logs", "--no-color"))
        for service in _LOGS.keys() & set(self.compose("config", "--services").split()):
            for container in self.compose("ps", "--quiet", service).split():
                source = f"{container}:{_LOGS[service]}"
                # A container that never started has none, and why it did not is in the file above.
                subprocess.run(["docker", "cp", source, folder / service], check=False, capture_output=True)

    def answer(self, port: int, path: str, data: bytes | None = None) -> bytes:
        """What one of the party's published ports answers."""
        request = urllib.request.Request(f"http://{self.address}:{port}{path}", data=data)
        with urllib.request.urlopen(request, timeout=10) as response:
            body: bytes = response.read()
            return body

    def wait(self, what: str, port: int, path: str, data: bytes | None = None, seconds: float = 240) -> bytes:
        """What a service answers once it does; it gets ``seconds`` to start."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.answer(port, path, data)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{what} of party {self.number} did not answer: {error}") from None
                time.sleep(2)


_PARTIES: Final[Mapping[int, str]] = {9999: "203.0.113.1", 10000: "203.0.113.2"}


@contextmanager
def deployment(kubefate: Path, folder: Path, engines: Engines, tag: str, logs: Path) -> Iterator[list[Party]]:
    """Brings both parties up, waits until FATE Flow answers in each, and takes everything down again.

    One at a time: names and addresses are the machine's. Whoever comes second waits for the first to end.
    ``folder`` (absent or empty) holds what KubeFATE generates; logs are left in ``logs``, a folder for each party.
    """
    require_command("docker-compose", "docker-compose", purpose="KubeFATE's deployment")
    engine = Engine()
    for name, image in STANDINS.items():
        standin(engine, name, f"{REGISTRY}/federatedai/{image}")
    parties = _generate(kubefate, folder, engines, tag)
    with locked(_LOCK), _addresses():
        try:
            for party in parties:
                party.up()
            for party in parties:
                party.wait("FATE Flow", 9380, "/v1/version/get", b"")
            yield parties
        finally:
            for party in parties:
                party.leave_logs(logs / f"{party.number}-{engines.computing}")
                party.compose("down", "--volumes", "--timeout", "5")


def _generate(kubefate: Path, folder: Path, engines: Engines, tag: str) -> list[Party]:
    """The folders of both parties, made by KubeFATE's ``generate_config.sh``."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "docker-deploy"
    if source.exists():
        shutil.rmtree(source)
    with tarfile.open(fileobj=io.BytesIO(_archive(kubefate))) as archive:
        archive.extractall(folder, filter="data")
    ids, addresses = " ".join(map(str, _PARTIES)), " ".join(_PARTIES.values())
    _set(
        source / "parties.conf",
        dir=str(folder),
        party_list=f"({ids})",
        party_ip_list=f"({addresses})",
        serving_ip_list=f"({addresses})",
        computing=engines.computing,
        federation=engines.federation,
        storage=engines.storage,
        compute_core=str(engines.cores),
    )
    _set(source / ".env", RegistryURI=REGISTRY, TAG=tag)
    subprocess.run(["bash", "generate_config.sh"], cwd=source, check=True, capture_output=True)
    parties = []
    for place, (number, address) in enumerate(_PARTIES.items()):
        with tarfile.open(source / "outputs" / f"confs-{number}.tar") as archive:
            archive.extractall(folder, filter="data")
        party = Party(number, address, folder / f"confs-{number}")
        for name in ("docker-compose.yml", "confs/fate_flow/conf/service_conf.yaml"):
            file = party.folder / name
            file.write_text(_readdressed(file.read_text(), address, f"10.{201 + place}"))
        parties.append(party)
    return parties


def _archive(kubefate: Path) -> bytes:
    for branch in BRANCHES:
        command = ["git", "-C", str(kubefate), "archive", branch, "docker-deploy"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            return done.stdout
    raise RuntimeError(
        f"KUBEFATE_DIR={kubefate} is no clone of KubeFATE with its branch {BRANCHES[0]}: {done.stderr.decode().strip()}"
    )


def _set(file: Path, **values: str) -> None:
    """Sets ``NAME=value`` lines; every name has to be there."""
    text = file.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^{name}=.*$", lambda _match, line=f"{name}={value}": line, text)  # type: ignore[misc]
        if count != 1:
            raise RuntimeError(f"{file} has {count} lines {name}=…, one was expected")
    file.write_text(text)


def _readdressed(text: str, address: str, subnet: str) -> str:
    """A file of a party with ports published on ``address`` only, in a subnet of its own, with our stand-ins."""
    text = re.sub(r'(?m)^(\s+- )"?(\d+):(\d+)"?$', rf'\1"{address}:\2:\3"', text)
    text = text.replace("192.167.", f"{subnet}.")
    return text.replace('image: "mysql:8.0.28"', f'image: "{REGISTRY}/federatedai/mysql:8.0.28"')


@contextmanager
def _addresses() -> Iterator[None]:
    """The parties' addresses on an interface of their own; from the block reserved for documentation."""
    if Path(f"/sys/class/net/{_INTERFACE}").exists():
        _ip("link", "delete", _INTERFACE)
    _ip("link", "add", _INTERFACE, "type", "bridge")
    try:
        for address in _PARTIES.values():
            _ip("address", "add", f"{address}/32", "dev", _INTERFACE)
        _ip("link", "set", _INTERFACE, "up")
        yield
    finally:
        _ip("link", "delete", _INTERFACE)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
