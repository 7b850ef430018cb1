"""Running ``fimg`` as a user does, and counting the builds it asks the docker client for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import SampleSource
from fimg_pipeline.variables import VARIABLES

FIMG = str(Path(sys.executable).parent / "fimg")

#: How this machine reaches the world, which tests need too. What else is set is meant for its user's builds.
_KEPT = (
    "DOCKER_HUB_MIRROR", "GIT_MIRROR", "APT_MIRROR", "APT_SECURITY_MIRROR", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
    "NPM_CONFIG_REGISTRY", "MAVEN_MIRROR", "CA_BUNDLE", "PYTHON_PREFIX",
)  # fmt: skip


def environment() -> dict[str, str]:
    """The environment without the user's own settings: tests make their own."""
    own = {variable.name for variable in VARIABLES} - set(_KEPT) | {"DAGSTER_HOME"}
    return {name: value for name, value in os.environ.items() if name not in own}


_SHIM = """#!/bin/sh
# Writes down every build and hands on to the real client.
if [ "$1" = build ]; then echo "$*" >> '{calls}'; fi
exec '{client}' "$@"
"""


@dataclass(frozen=True)
class Result:
    """How a command ended, and everything it printed."""

    status: int
    output: str


@dataclass(frozen=True)
class Fimg:
    """``fimg`` with a state folder, source and settings of its own."""

    folder: Path
    sample: SampleSource
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        shims = self.folder / "shims"
        if not shims.exists():
            shims.mkdir(parents=True)
            shim = shims / "docker"
            shim.write_text(_SHIM.format(calls=self.calls, client=Engine().cli))
            shim.chmod(0o755)
        return {
            **environment(),
            "PATH": f"{shims}:{os.environ['PATH']}",
            "FIMG_HOME": str(self.home),
            "FATE_DIR": str(self.sample.fate),
            "FATE_LLM_URL": str(self.sample.fate_llm),
            "IPCL_PKG_DIR": str(self.sample.ipcl),
            **self.settings,
        }

    def __call__(self, *arguments: str, timeout: float = 1800, **settings: str) -> Result:
        """Runs ``fimg ARGUMENTS`` to its end."""
        done = subprocess.run(
            [FIMG, *arguments],
            env={**self.environment, **settings},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout)

    def succeeds(self, *arguments: str, timeout: float = 1800, **settings: str) -> str:
        """Runs ``fimg ARGUMENTS``, which has to end well; what it printed."""
        result = self(*arguments, timeout=timeout, **settings)
        assert result.status == 0, result.output
        return result.output

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Starts ``fimg ARGUMENTS`` in a process group of its own; what it prints is in ``said``."""
        with self.said.open("wb") as output:
            return subprocess.Popen(
                [FIMG, *arguments],
                env={**self.environment, **settings},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # As for whatever is started in the background of a script: the harder case.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )

    def materialize(self, selection: str, partition: str) -> subprocess.Popen[str]:
        """Starts what the web UI starts: a run of Dagster's own, of assets for a partition, settings as they are."""
        command = ["-m", "dagster", "asset", "materialize", "-m", "fimg_pipeline.definitions"]
        return subprocess.Popen(
            [sys.executable, *command, "--select", selection, "--partition", partition],
            env={**self.environment, "DAGSTER_HOME": str(self.home / "dagster")},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def said(self) -> Path:
        """The file with what the command started last has printed."""
        return self.folder / "said.log"

    def builds(self) -> list[str]:
        """The builds the docker client was asked for since the last call."""
        if not self.calls.exists():
            return []
        calls = self.calls.read_text().splitlines()
        self.calls.unlink()
        return calls

    @property
    def calls(self) -> Path:
        """The file in which the docker client's builds are written down, a line each."""
        return self.folder / "builds.log"


def switches(*on: Feature) -> dict[str, str]:
    """The ``Build_*`` variables with only ``on`` switched on."""
    return {feature.variable: "1" if feature in on else "0" for feature in Feature}
