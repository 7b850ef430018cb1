"""The templates that come with the project: each gives an AppImage, and the client's follows a job to its end.

FATE Flow is a stand-in that answers as version 1.11.2 does (``fate_flow/apps/job_app.py``).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.manifest import app_image
from fimg_pipeline.kuscia.reference import parse
from fimg_pipeline.kuscia.templates import Template, find, names, shipped

IMAGE = parse("host:5000/fate/client:1.11.2-release")
INITIATOR = {"role": "guest", "party_id": 9999}


@pytest.mark.parametrize("name", names())
def test_each_gives_an_app_image(name: str) -> None:
    done = app_image(shipped(name).text, "an-image", IMAGE)
    assert done["spec"]["image"] == {"name": "host:5000/fate/client", "tag": "1.11.2-release"}
    assert "{{APP_IMAGE_NAME}}" not in json.dumps(done)


def test_those_that_are_needed_are_there() -> None:
    assert names() == ("fate-client", "fateflow", "general")


def test_others_are_files(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("kind: AppImage")
    assert find("own.yaml", tmp_path) == Template("own.yaml", "kind: AppImage")
    assert find("general", tmp_path) == shipped("general")
    (tmp_path / "no-text").write_bytes(b"\xff\xfe")
    for name, told in (("other.yaml", "No such file"), ("no-text", "no text"), (".", "directory"), ("a\0b", "null")):
        with pytest.raises(FimgError, match=told):
            find(name, tmp_path)


class Flow(ThreadingHTTPServer):
    """Answers queries with ``statuses``, one after the other, the last one for good; 500 for ``None``.

    What is no text is the whole answer. ``submit_seconds``: how long a submission takes.
    """

    def __init__(self, statuses: list[Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = statuses
        self.submit_seconds = 0.0
        self.asked: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Flow

    def do_POST(self) -> None:
        path, body = self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((path, body))
        status: Any = ""
        if path == "/v1/job/submit":
            time.sleep(self.server.submit_seconds)
        if path == "/v1/job/query":
            statuses = self.server.statuses
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        answers: dict[str, Any] = {
            "/v1/job/submit": {"jobId": "202611260000000000000"},
            "/v1/job/query": {"data": [{"f_status": status}]},
            "/v1/job/task/query": {
                "data": [
                    {"f_component_name": "reader_0", "f_status": "success"},
                    {"f_component_name": "lr_0", "f_status": "failed"},
                ]
            },
            "/v1/job/stop": {},
        }
        refused = {"retcode": 101, "retmsg": "no such party"}
        answer = refused if body.get("job_dsl") == {} else {"retcode": 0, "retmsg": "success", **answers[path]}
        content = json.dumps(status if isinstance(status, dict | list) else answer).encode()
        self.send_response(500 if status is None else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def flow() -> Iterator[Flow]:
    server = Flow(["success"])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def started(tmp_path: Path, task: Any) -> subprocess.Popen[str]:
    """The follower as a node starts it, its configuration filled as Kuscia does; it polls more often."""
    templates = app_image(shipped("fate-client").text, "x", IMAGE)["spec"]["configTemplates"]
    given = json.dumps(json.dumps(task))[1:-1]
    configuration = templates["task.conf"].replace("{{.TASK_INPUT_CONFIG}}", given).replace("{{.TASK_ID}}", "a")
    (tmp_path / "task.conf").write_text(configuration)
    program = templates["follow.py"]
    for name, value in (
        ("POLL_SECONDS = 5\n", "POLL_SECONDS = 0.02\n"),
        ("PATIENCE_SECONDS = 600", "PATIENCE_SECONDS = 0.3"),
    ):
        assert name in program
        program = program.replace(name, value)
    (tmp_path / "follow.py").write_text(program)
    command = [sys.executable, str(tmp_path / "follow.py"), str(tmp_path / "task.conf")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def task_for(flow: Flow) -> dict[str, Any]:
    return {"flow": flow.url, "job_runtime_conf": {"initiator": INITIATOR}, "job_dsl": {"components": {}}}


def test_a_job_is_submitted_and_followed_to_its_end(flow: Flow, tmp_path: Path) -> None:
    flow.statuses = ["waiting", "running", None, [], {"retcode": 0}, {"retcode": 0, "data": [{}]}, "success"]
    status, output = ended(started(tmp_path, task_for(flow)))
    assert status == 0, output
    assert [line.rpartition(": ")[2] for line in output.splitlines()[1:]] == ["waiting", "running", "success"]
    (submitted, *queries) = flow.asked
    assert submitted[1] == {"job_dsl": {"components": {}}, "job_runtime_conf": {"initiator": INITIATOR}}
    assert queries[0] == ("/v1/job/query", {**INITIATOR, "job_id": "202611260000000000000"})


@pytest.mark.parametrize("how", ["failed", "canceled", "timeout"])
def test_a_task_fails_when_its_job_does(flow: Flow, tmp_path: Path, how: str) -> None:
    flow.statuses = ["running", how]
    status, output = ended(started(tmp_path, task_for(flow)))
    assert status == 1 and f"job 202611260000000000000 ended: {how} in lr_0" in output, output


def test_a_flow_that_is_gone_is_not_waited_for_for_ever(flow: Flow, tmp_path: Path) -> None:
    flow.statuses = ["running", None]
    status, output = ended(started(tmp_path, task_for(flow)))
    assert status == 1 and "FATE Flow has said nothing of the job for 0.3 s" in output, output


def test_what_flow_refuses_and_what_is_missing_is_told(flow: Flow, tmp_path: Path) -> None:
    status, output = ended(started(tmp_path, {**task_for(flow), "job_dsl": {}}))
    assert status == 1 and "FATE Flow refuses job/submit: no such party" in output, output
    status, output = ended(started(tmp_path, {"flow": flow.url}))
    assert status == 1 and "the task's input lacks job_runtime_conf, job_dsl" in output, output
    status, output = ended(started(tmp_path, {**task_for(flow), "flow": "http://127.0.0.1:1"}))
    assert status == 1 and "FATE Flow at http://127.0.0.1:1 can't be asked" in output, output
    status, output = ended(started(tmp_path, {**task_for(flow), "job_runtime_conf": {}}))
    assert status == 1 and "the task's input lacks job_runtime_conf.initiator" in output, output
    status, output = ended(started(tmp_path, {**task_for(flow), "job_runtime_conf": 7}))
    assert status == 1 and "must be a JSON object" in output and "Traceback" not in output, output
    for task in (7, {**task_for(flow), "flow": 7}, {**task_for(flow), "job_runtime_conf": {"initiator": 1}}):
        status, output = ended(started(tmp_path, task))
        assert status == 1 and "must be a JSON object" in output and "Traceback" not in output, output


@pytest.mark.parametrize(
    ("asked", "submit_seconds"), [("/v1/job/query", 0.0), ("/v1/job/submit", 1.0)], ids=["running", "submitting"]
)
def test_a_task_that_is_stopped_stops_its_job(flow: Flow, tmp_path: Path, asked: str, submit_seconds: float) -> None:
    flow.statuses, flow.submit_seconds = ["running"], submit_seconds
    process = started(tmp_path, task_for(flow))
    deadline = time.monotonic() + 20
    while not any(path == asked for path, _ in flow.asked):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    assert status == 1 and "stopped, and job 202611260000000000000 with it" in output, output
    assert flow.asked[-1] == ("/v1/job/stop", {"job_id": "202611260000000000000"})
