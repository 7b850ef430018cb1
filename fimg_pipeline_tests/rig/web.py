"""The web UI, started as a user does and spoken to as its pages do."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fimg_pipeline_tests.rig.command import Fimg


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def web_ui(fimg: Fimg, *flags: str) -> Iterator[tuple[str, int]]:
    """``fimg ui`` while the block runs; its address and process group."""
    port = free_port()
    process = fimg.start("ui", "--port", str(port), *flags)
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            # Dagster itself gives its servers a minute to end.
            process.wait(timeout=150)
        finally:
            with suppress(ProcessLookupError):
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
START = """mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
  __typename ... on Error { message } } }"""
TICKS = """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
  sensorState { ticks { status skipReason error { message } runIds } } } } }"""
START_SCHEDULE = """mutation($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
  __typename ... on Error { message } } }"""
SCHEDULE_TICKS = """query($selector: ScheduleSelector!) { scheduleOrError(scheduleSelector: $selector) {
  ... on Schedule { scheduleState { ticks { status skipReason error { message } runIds } } } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def repository(address: str) -> Any:
    """The repository of definitions that the web UI has loaded."""
    (entry,) = ask(address, LOCATIONS)["workspaceOrError"]["locationEntries"]
    (found,) = entry["locationOrLoadError"]["repositories"]
    return found


def launch(address: str, tag: str, *assets: list[str]) -> str:
    """Materializes assets as a click does; the run's id."""
    selector = {
        "repositoryLocationName": "fimg",
        "repositoryName": repository(address)["name"],
        "pipelineName": "build",
        "assetSelection": [{"path": path} for path in assets],
    }
    tags = {"dagster/partition/platform": "amd64", "dagster/partition/tag": tag, "dagster/partition": f"amd64|{tag}"}
    metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
    launched = ask(address, LAUNCH, params={"selector": selector, "executionMetadata": metadata})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run: str = launched["run"]["runId"]
    return run


def until(what: Callable[[], Any], seconds: float) -> Any:
    """What the function gives once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
    return found


def ended(address: str, run: str, seconds: float) -> str:
    """How a run ended, which it has to within ``seconds``."""

    def status() -> str | None:
        found: str = ask(address, STATUS, id=run)["runOrError"]["status"]
        return found if found in ("SUCCESS", "FAILURE", "CANCELED") else None

    return str(until(status, seconds))


def switch_on(address: str, sensor: str) -> None:
    """Starts a sensor, as its switch does."""
    started = ask(address, START, selector=_selector(address, "sensorName", sensor))["startSensor"]
    assert started["__typename"] == "Sensor", started


def switch_on_schedule(address: str, schedule: str) -> None:
    """Starts a schedule, as its switch does."""
    selector = _selector(address, "scheduleName", schedule)
    started = ask(address, START_SCHEDULE, selector=selector)["startSchedule"]
    assert started["__typename"] == "ScheduleStateResult", started


def ticks(address: str, sensor: str) -> list[dict[str, Any]]:
    """The ticks of a sensor, the latest first."""
    answer = ask(address, TICKS, selector=_selector(address, "sensorName", sensor))
    found: list[dict[str, Any]] = answer["sensorOrError"]["sensorState"]["ticks"]
    return found


def schedule_ticks(address: str, schedule: str) -> list[dict[str, Any]]:
    """The ticks of a schedule, the latest first."""
    answer = ask(address, SCHEDULE_TICKS, selector=_selector(address, "scheduleName", schedule))
    found: list[dict[str, Any]] = answer["scheduleOrError"]["scheduleState"]["ticks"]
    return found


def _selector(address: str, kind: str, name: str) -> dict[str, str]:
    return {"repositoryLocationName": "fimg", "repositoryName": repository(address)["name"], kind: name}
