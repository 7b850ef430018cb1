"""The deployment of `deploy/`, up under a name of its own, and Compose, where this machine's docker has none."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import requests

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.engine.bases import ensure_base
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import SampleSource
from fimg_pipeline.settings import DEBIAN, load
from fimg_pipeline_tests.rig.web import free_port

PROJECT = Path(__file__).parents[2]
#: How the names of steps' containers begin: dagster-docker's choice.
_STEP = "dagster-step-"
#: Debian 12 has Compose 1 alone; this one, of Debian 13, brings all it needs.
_PACKAGE = "pool/main/d/docker-compose/docker-compose_2.26.1-4_amd64.deb"
_SHA256 = "47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea"


@cache
def compose() -> tuple[str, ...]:
    """The command: docker's plugin, or a program of its own."""
    plugin = (Engine().cli, "compose")
    if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
        return plugin
    folder = load().home / "tests" / _SHA256
    if not folder.is_dir():
        place = f"{(load().apt_mirror or DEBIAN).rstrip('/')}/{_PACKAGE}"
        answer = requests.get(place, timeout=60)
        answer.raise_for_status()
        assert hashlib.sha256(answer.content).hexdigest() == _SHA256, f"{place} is not what it was"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
            package = Path(unpacked) / "compose.deb"
            package.write_bytes(answer.content)
            subprocess.run(["dpkg-deb", "--extract", str(package), f"{unpacked}/files"], check=True)
            Path(unpacked, "files").rename(folder)
    return (str(folder / "usr/libexec/docker/cli-plugins/docker-compose"),)


@dataclass(frozen=True)
class Deployment:
    """``name`` of its project, and before the names of its containers; ``folder`` of its files."""

    name: str
    folder: Path
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        return (self.folder / "secrets/POSTGRES_PASSWORD").read_text()

    def __call__(self, *arguments: str, given: bytes = b"", timeout: float = 900) -> bytes:
        """Runs ``docker compose ARGUMENTS``; what it printed."""
        return self._run([*compose(), *arguments], given, timeout)

    def configure(self, **settings: str) -> None:
        """Sets what containers that are made from now on read."""
        with (self.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def printed(self) -> set[str]:
        """The runs of which it is kept what their steps printed."""
        command = ("run", "--rm", "-T", "--entrypoint", "ls", "fimg", "/var/lib/dagster/storage")
        return set(self(*command).decode().split())

    def documented(self, heading: str) -> list[str]:
        """The shell's blocks below a heading of docs/deployment.md."""
        text = (PROJECT / "docs/deployment.md").read_text()
        (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        blocks: list[str] = re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)
        return blocks

    def shell(self, script: str) -> None:
        """Runs lines of the documentation, all of which have to end well."""
        script = script.replace("docker compose", shlex.join(compose())).replace("network=fimg", f"network={self.name}")
        self._run(["bash", "-ec", script], b"", 900)

    def _run(self, command: Sequence[str], given: bytes, timeout: float) -> bytes:
        own = {"COMPOSE_PROJECT_NAME": self.name, "FIMG_VERSION": self.name}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **own},
            input=given,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")[-4000:]
        return done.stdout

    def runs(self) -> list[str]:
        """The names of the containers of runs, whether they still live or not."""
        return self._ours("--filter", "label=dagster/run_id")

    def steps(self) -> list[str]:
        """The names of those of steps."""
        return [name for name in self._ours() if name.startswith(_STEP)]

    def _ours(self, *filters: str) -> list[str]:
        return _docker("ps", "--all", "--format={{.Names}}", "--filter", f"ancestor=fimg:{self.name}", *filters)

    def containers(self) -> list[str]:
        return _docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}")


def _docker(*arguments: str) -> list[str]:
    return subprocess.run([Engine().cli, *arguments], capture_output=True, text=True, check=True).stdout.split()


@contextmanager
def deployment(sample: SampleSource, folder: Path, **settings: str) -> Iterator[Deployment]:
    """Built and up for the block, of a copy of the project in ``folder``, with settings of its own."""
    name = f"fimg-test-{uuid.uuid4().hex[:12]}"
    for each in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / each, folder)
    shutil.copytree(PROJECT / "fimg_pipeline", folder / "fimg_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    own = ("secrets", "files", "bundles", ".env", "compose.override.yaml")
    shutil.copytree(PROJECT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns(*own))
    deploy = folder / "deploy"
    for file in (deploy / "compose.yaml", deploy / "dagster.yaml"):
        # What has one name on a host.
        text = file.read_text()
        for what in ("fimg-daemon", "name: fimg\n", "network: fimg\n"):
            text = text.replace(what, what.replace("fimg", name))
        file.write_text(text)
    for each in ("secrets", "files"):
        (deploy / each).mkdir()
    secret = deploy / "secrets/POSTGRES_PASSWORD"
    secret.touch(mode=0o600)
    secret.write_text(uuid.uuid4().hex)
    port = free_port()
    base = ensure_base(BASES["debian"], Engine().platform, load(), Engine(), log=print)
    mirror = load().apt_mirror
    lines = {
        "FATE_DIR": str(sample.fate),
        "FIMG_PORT": str(port),
        "BASE_DEBIAN": base.local,
        "PREFIX": f"{name}.invalid/federatedai",
        **({"APT_MIRROR": mirror} if mirror else {}),
        **({"PIP_INDEX_URL": index} if (index := load().pip_index_url) else {}),
        **({"CA_BUNDLE": str(bundle)} if (bundle := load().ca_bundle) else {}),
        **settings,
    }
    found = Deployment(name, deploy, port)
    found.configure(**lines)
    try:
        found("build")
        found("up", "--detach", "--wait")
        yield found
    finally:
        found("--profile", "registry", "down", "--volumes", "--timeout", "10")
        for image in _docker("images", "--quiet", f"fimg:{name}"):
            _docker("rmi", "--force", image)
