"""The two commands of fate-upgrade-manager."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fimg_pipeline_tests.dockerfiles.loading import load

mysql = load("modules/fate-upgrade-manager/upgrade-mysql.py")
flow = load("modules/fate-upgrade-manager/shutdown-flow.py")

SCRIPTS = ("1.6.0-1.6.1", "1.6.1-1.7.0", "1.7.0-1.7.1", "1.7.1-1.7.2", "1.7.2-1.8.0", "1.8.0-1.9.0", "1.9.0-1.11.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in SCRIPTS:
        (tmp_path / f"{name}.sql").write_text("SELECT 1;", encoding="utf-8")
    return tmp_path


def chosen(folder: Path, start: str, end: str) -> list[str]:
    scripts = mysql.choose(mysql.find_scripts(folder), mysql.parse_version(start), mysql.parse_version(end))
    return [script.path.stem for script in scripts]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("1.7.0", "1.8.0", ["1.7.0-1.7.1", "1.7.1-1.7.2", "1.7.2-1.8.0"]),
        ("1.6.0", "1.11.2", list(SCRIPTS)),
        ("1.10.0", "1.11.2", ["1.9.0-1.11.1"]),
        ("v1.8.0", "1.9.0-release", ["1.8.0-1.9.0"]),
        ("1.11.1", "1.11.2", []),
        ("1.9", "1.9.0", []),
    ],
)
def test_scripts_between_two_versions(folder: Path, start: str, end: str, expected: list[str]) -> None:
    assert chosen(folder, start, end) == expected


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({}, 3306),
        ({"MYSQL_PORT": "3307"}, 3307),
        # As Kubernetes has it in every pod beside a Service called mysql.
        ({"MYSQL_PORT": "tcp://10.96.12.7:3308", "MYSQL_SERVICE_PORT": "3308"}, 3308),
        ({"MYSQL_PORT": "tcp://10.96.12.7:3306"}, 3306),
    ],
)
def test_the_port_of_the_database(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], port: int) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "pymysql", SimpleNamespace(connect=asked.update, MySQLError=OSError))
    for name in ("MYSQL_PORT", "MYSQL_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    mysql.connect("fate", "word")
    assert asked["port"] == port


def test_versions_are_numbers_not_texts(folder: Path) -> None:
    assert mysql.parse_version("1.10.0") > mysql.parse_version("1.9.0")


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [("1.5.0", "1.11.2", "the oldest is 1.6.0-1.6.1.sql"), ("1.9.0", "1.8.0", "older"), ("new", "1.9.0", "'new'")],
)
def test_impossible_upgrades(folder: Path, start: str, end: str, message: str) -> None:
    with pytest.raises(mysql.UpgradeError, match=message):
        chosen(folder, start, end)


def test_statements() -> None:
    sql = """-- it's a comment; with a quote
ALTER TABLE a ADD b TEXT; # another; one
INSERT INTO a VALUES ('x;y', "it''s; ok", `c;d`, 'a\\'b;'); /* gone; */ SELECT 1 /*! STRAIGHT_JOIN */;
DELIMITER //
CREATE PROCEDURE p()
BEGIN
    SELECT 1;
    SELECT 2;
END //
  delimiter ;
CALL p();
DROP PROCEDURE p"""
    assert list(mysql.statements(sql)) == [
        "ALTER TABLE a ADD b TEXT",
        "INSERT INTO a VALUES ('x;y', \"it''s; ok\", `c;d`, 'a\\'b;')",
        "SELECT 1 /*! STRAIGHT_JOIN */",
        "CREATE PROCEDURE p()\nBEGIN\n    SELECT 1;\n    SELECT 2;\nEND",
        "CALL p()",
        "DROP PROCEDURE p",
    ]


def test_statements_of_files_with_windows_line_ends() -> None:
    assert list(mysql.statements("DELIMITER $$\r\nSELECT 1$$\r\nDELIMITER ;\r\nSELECT 2;\r\n")) == [
        "SELECT 1",
        "SELECT 2",
    ]


@pytest.mark.parametrize("sql", ["", "  \n", "-- nothing\n#\n", ";;"])
def test_no_statements(sql: str) -> None:
    assert list(mysql.statements(sql)) == []


class FakeConnection:
    """Records what is executed; fails at the statement `fails`."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.log: list[str] = []

    def cursor(self) -> FakeConnection:
        return self

    def __enter__(self) -> FakeConnection:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def execute(self, statement: str) -> None:
        if statement == self.fails:
            raise RuntimeError(1060, "Duplicate column")
        self.log.append(statement)

    def nextset(self) -> bool:
        return False

    def commit(self) -> None:
        self.log.append("commit")

    def rollback(self) -> None:
        self.log.append("rollback")

    def close(self) -> None:
        self.log.append("close")


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, connection: FakeConnection, *versions: str) -> int:
    monkeypatch.setenv("SQL_DIR", str(folder))
    monkeypatch.setattr(mysql, "connect", lambda user, password: connection)
    return int(mysql.main(["fate", "secret", *versions]))


def test_upgrade_commits_every_script(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    connection = FakeConnection()
    assert run(monkeypatch, folder, connection, "1.7.1", "1.8.0") == 0
    assert connection.log == ["SELECT 1", "commit", "SELECT 1", "commit", "close"]


def test_failed_statement_ends_the_upgrade(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "1.7.2-1.8.0.sql").write_text("SELECT 2;\nALTER TABLE a\n ADD b INT;\nSELECT 3;", encoding="utf-8")
    connection = FakeConnection(fails="ALTER TABLE a\n ADD b INT")
    assert run(monkeypatch, folder, connection, "1.7.2", "1.9.0") == 1
    assert connection.log == ["SELECT 2", "rollback", "close"]
    told = capsys.readouterr().err
    assert "1.7.2-1.8.0.sql: statement 2 failed (ALTER TABLE a ...): MySQL error 1060: Duplicate column" in told


def test_nothing_to_upgrade_needs_no_database(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = FakeConnection()
    assert run(monkeypatch, folder, connection, "1.11.1", "1.11.2") == 0
    assert connection.log == []
    assert "nothing to do" in capsys.readouterr().out


class Cluster(BaseHTTPRequestHandler):
    """A Kubernetes API with one workload `python`, whose pod goes away some looks after it was scaled.

    Its controller sees that it was scaled at the first of these looks only; until then it has counted nothing.

    It allows what the Role of KubeFATE's chart allows: to get and patch workloads.
    """

    kind: str
    replicas: int
    pods: int
    looks_left: int
    refuses: bool

    def do_GET(self) -> None:
        if self._allowed():
            if type(self).replicas == 0:
                type(self).looks_left -= 1
            if self.looks_left <= 0:
                type(self).pods = 0
            seen = self.looks_left <= 1
            status = {"observedGeneration": 2 if seen else 1, **({"replicas": self.pods} if seen and self.pods else {})}
            self._answer(200, {"metadata": {"generation": 1 if self.replicas else 2}, "status": status})

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._allowed():
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            type(self).replicas = body["spec"]["replicas"]
            self._answer(200, {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 0.2}}}})

    def _allowed(self) -> bool:
        workload = re.fullmatch(r"/apis/apps/v1/namespaces/[^/]+/(deployments|statefulsets)/[^/]+", self.path)
        if self.headers["Authorization"] != "Bearer token":
            self._answer(401, {"message": "Unauthorized"})
        elif not workload or self.refuses:
            self._answer(403, {"message": "fum may not do that"})
        elif self.path != f"/apis/apps/v1/namespaces/fate-9999/{self.kind}/python":
            self._answer(404, {"message": "not found"})
        else:
            return True
        return False

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def api() -> Iterator[HTTPServer]:
    Cluster.kind, Cluster.replicas, Cluster.pods, Cluster.looks_left, Cluster.refuses = "statefulsets", 1, 1, 3, False
    server = HTTPServer(("127.0.0.1", 0), Cluster)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def cluster(api: HTTPServer, token: str = "token") -> Any:
    return flow.Cluster(f"http://127.0.0.1:{api.server_port}", token, None)


def test_shutdown_waits_for_the_end(api: HTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    flow.shutdown(cluster(api), "fate-9999", timeout=10, pause=0.01)
    assert (Cluster.replicas, Cluster.pods, Cluster.looks_left) == (0, 0, 0)
    assert capsys.readouterr().out.splitlines() == ["statefulset python: scaled to 0", "FATE Flow is stopped."]


def test_pods_of_a_deployment_get_their_time_to_end(api: HTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    """It counts them no longer once they were told to."""
    Cluster.kind = "deployments"
    begun = time.monotonic()
    flow.shutdown(cluster(api), "fate-9999", timeout=10, pause=0.01)
    assert time.monotonic() - begun >= 0.2
    assert "deployment python: scaled to 0" in capsys.readouterr().out


def test_shutdown_gives_up_in_the_end(api: HTTPServer) -> None:
    Cluster.looks_left = 10**6
    with pytest.raises(flow.ShutdownError, match="still there after 0 s: python"):
        flow.shutdown(cluster(api), "fate-9999", timeout=0.05, pause=0.01)


def test_shutdown_of_nothing(api: HTTPServer) -> None:
    with pytest.raises(flow.ShutdownError, match="namespace other has no deployment or stateful set named python"):
        flow.shutdown(cluster(api), "other", timeout=1)


def test_refusals_are_told(api: HTTPServer) -> None:
    Cluster.refuses = True
    with pytest.raises(flow.ShutdownError, match="403 fum may not do that"):
        flow.shutdown(cluster(api), "fate-9999", timeout=1)
    with pytest.raises(flow.ShutdownError, match="401 Unauthorized"):
        flow.shutdown(cluster(api, token="wrong"), "fate-9999", timeout=1)


def test_shutdown_outside_a_cluster(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert flow.main(["fate-9999"]) == 1
    assert "not a pod" in capsys.readouterr().err
