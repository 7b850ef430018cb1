"""The Dagster instance and the web UI, as ``fimg setup`` and ``fimg ui`` start them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import create_sample
from fimg_pipeline_tests.rig.command import FIMG, Fimg, environment, switches

pytestmark = pytest.mark.engine

PREFIX = f"fimg-test.invalid:5000/ui{os.getpid()}"


def test_the_first_commands_of_a_machine_can_come_at_once(tmp_path: Path) -> None:
    # Of two people, with one instance.
    (tmp_path / "dagster").mkdir()
    commands = [
        subprocess.Popen(
            [FIMG, "setup"],
            env={**environment(), "FIMG_HOME": str(tmp_path / home), "DAGSTER_HOME": str(tmp_path / "dagster")},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for home in ("one", "one", "other")
    ]
    told = [command.communicate(timeout=120)[0].decode() for command in commands]
    assert [command.returncode for command in commands] == [0, 0, 0], told


@pytest.mark.parametrize(
    ("file", "why"), [("history/runs.db", "file is not a database"), ("dagster.yaml", 'dagster.yaml", line 1')]
)
def test_a_damaged_instance_is_told_with_what_to_do(tmp_path: Path, file: str, why: str) -> None:
    given = {**environment(), "FIMG_HOME": str(tmp_path / "home")}
    first = _set_up(given, tmp_path)
    damaged = tmp_path / "home/dagster" / file
    # Not written through the link to the project's own.
    damaged.unlink()
    damaged.write_text("damaged: [")
    second = _set_up(given, tmp_path)
    assert first.returncode == 0, first.stderr
    assert second.returncode == 1
    assert why in second.stderr and "move that folder away" in second.stderr, second.stderr
    assert "Traceback" not in second.stderr


def _set_up(given: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FIMG, "setup"], env=given, cwd=folder, capture_output=True, text=True, check=False)


@contextmanager
def web_ui(fimg: Fimg, *flags: str, **settings: str) -> Iterator[str]:
    """``fimg ui`` while the block runs; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = fimg.start("ui", "--port", str(port), *flags, **settings)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def ask(address: str, query: str, **variables: Any) -> Any:
    """What the web UI's GraphQL answers, once it does."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", data=body, headers={"Content-Type": "application/json"})
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)["data"]
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
  __typename ... on PythonError { message }
  ... on RepositoryLocation { repositories { name jobs { name description } } } } } } } }"""
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def test_flags_win_over_the_environment_and_that_over_dotenv_in_the_web_ui(tmp_path: Path) -> None:
    sample = create_sample(tmp_path / "src")
    given = switches(Feature.BASIC, Feature.SPARK)
    fimg = Fimg(tmp_path, sample, {"PREFIX": "fimg-test.invalid:5000/environment", **given, "Build_NN": "1"})
    # As in .env.example: Dagster would put it into the environment, with nothing for the version.
    (tmp_path / ".env").write_text("PREFIX=dotenv\nBuild_NN=0\nBASE_TAG=${version}-base\n")
    # Python would take it for the module that Dagster needs.
    (tmp_path / "gql.py").write_text("raise RuntimeError('a file of the user')\n")
    with web_ui(fimg, "--prefix", PREFIX, "--tag", "ui") as address:
        (entry,) = ask(address, LOCATIONS)["workspaceOrError"]["locationEntries"]
        (repository,) = entry["locationOrLoadError"]["repositories"]
        described = {job["name"]: job["description"] for job in repository["jobs"]}
        assert "Build_NN=1" in described["build_amd64"]
        selector = {
            "repositoryLocationName": "fimg",
            "repositoryName": repository["name"],
            "pipelineName": "build",
            "assetSelection": [{"path": ["nginx"]}, {"path": ["package", "proxy"]}],
        }
        tags = {"dagster/partition/platform": "amd64", "dagster/partition/tag": "ui", "dagster/partition": "amd64|ui"}
        launched = ask(
            address,
            LAUNCH,
            params={
                "selector": selector,
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        deadline = time.monotonic() + 240
        status = "QUEUED"
        while status not in ("SUCCESS", "FAILURE", "CANCELED") and time.monotonic() < deadline:
            time.sleep(1)
            status = ask(address, STATUS, id=launched["run"]["runId"])["runOrError"]["status"]
        assert status == "SUCCESS", fimg.said.read_text()
    engine = Engine()
    assert engine.inspect(f"{PREFIX}/nginx:ui") is not None
    engine.remove(f"{PREFIX}/nginx:ui")
