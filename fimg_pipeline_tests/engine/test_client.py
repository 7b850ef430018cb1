"""The docker client as it is called, and what is kept of what it says."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from fimg_pipeline.engine import client
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.errors import EngineError, EngineUnreachableError
from fimg_pipeline.engine.failures import TransientBuildError


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine whose client writes down its arguments, says what apt says, and fails."""
    client = tmp_path / "docker"
    client.write_text(
        f"#!/bin/sh\ncat >/dev/null\necho \"$@\" >'{tmp_path}/arguments'\n"
        "echo '#5 0.3 E: Failed to fetch http://me:s3cret@mirror.example/debian/x  503 Service Unavailable'\nexit 1\n"
    )
    client.chmod(0o755)
    engine = Engine()
    engine.__dict__["cli"] = str(client)
    return engine


def test_no_password_of_a_mirror_is_told(engine: Engine, tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(TransientBuildError) as caught:
        engine.build_archive(
            [b"context"],
            dockerfile="Dockerfile",
            what="a tree",
            platform="linux/amd64",
            options=["--build-arg", "X=1"],
            archive=tmp_path / "out.tar",
            log=lines.append,
        )
    assert lines == ["#5 0.3 E: Failed to fetch http://***@mirror.example/debian/x  503 Service Unavailable"]
    assert "s3cret" not in str(caught.value) and "503 Service Unavailable" in str(caught.value)
    asked = (tmp_path / "arguments").read_text()
    assert f"--output=type=tar,dest={tmp_path}/out.tar" in asked and "--platform=linux/amd64" in asked


def test_what_is_no_address_is_not_taken_for_a_host() -> None:
    for address in ("foo", "tcp://"):
        with pytest.raises(EngineError, match=f"^{address} is no address of an engine\n") as caught:
            _ = Engine(address).sdk
        begins = "is to be one, which begins with unix://, tcp://, ssh://"
        assert caught.value.hint == f"DOCKER_HOST_AMD64, or DOCKER_HOST_ARM64, {begins}"


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    (tmp_path / "ca.pem").touch()
    with pytest.raises(
        EngineError, match=f"can't be used: {tmp_path} has no cert.pem, key.pem that can be read\n"
    ) as caught:
        _ = Engine("tcp://builder.example:2376").sdk
    assert caught.value.hint is not None and caught.value.hint.endswith("with ca.pem, cert.pem, key.pem")
    # Nor is a folder that can't be looked into an error of its own.
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / ("x" * 300)))
    with pytest.raises(EngineError, match=r"has no ca\.pem, cert\.pem, key\.pem"):
        _ = Engine("tcp://builder.example:2376").sdk


def test_the_variable_to_mend_is_the_one_that_names_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    hints = []
    for engine in (Engine(), Engine("tcp://127.0.0.1:1")):
        with pytest.raises(EngineError, match="no Docker engine answers") as caught:
            _ = engine.sdk
        hints.append(caught.value.hint)
    assert hints == [
        "start it there, or set DOCKER_HOST to where one is",
        "start it there, or set DOCKER_HOST_AMD64, or DOCKER_HOST_ARM64, to where one is",
    ]


def test_processes_are_sent_to_an_engine_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/mine.sock")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert Engine().address == Engine().environment["DOCKER_HOST"] == "unix:///run/mine.sock"
    away = Engine("tcp://builder.example:2376")
    assert (away.address, away.environment["DOCKER_HOST"]) == ("tcp://builder.example:2376",) * 2
    # Certificates are for those by tcp:// alone, whatever the others are asked by.
    assert away.environment["DOCKER_TLS_VERIFY"] == "1"
    assert "DOCKER_TLS_VERIFY" not in Engine("ssh://me@builder.example").environment
    # Where nothing is said the client would take another one for them, or because of its context.
    monkeypatch.delenv("DOCKER_HOST")
    assert Engine().environment["DOCKER_HOST"] == Engine().address == "unix:///var/run/docker.sock"
    assert "DOCKER_TLS_VERIFY" not in Engine().environment
    assert away.disk is None


def test_the_disk_of_an_engine_is_seen_beside_it_and_in_a_container_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def engine_at(folder: Path, holds: Sequence[str] = ()) -> Engine:
        def containers(*, filters: Mapping[str, str], **_: bool) -> list[str]:
            assert filters == {"id": socket.gethostname()}
            return list(holds)

        found = Engine("unix:///run/mine.sock")
        info = {"DockerRootDir": str(folder), "Driver": "overlay2"}
        found.__dict__["sdk"] = SimpleNamespace(info=lambda: info, api=SimpleNamespace(containers=containers))
        return found

    beside, inside = engine_at(tmp_path), tmp_path / "dockerenv"
    assert (beside.disk, beside.sees_our_files) == (tmp_path, True)
    monkeypatch.setattr(client, "_IN_CONTAINER", inside)
    assert engine_at(tmp_path / "none").disk is None
    inside.touch()
    # Of another engine.
    assert engine_at(tmp_path / "none").disk is None
    within = engine_at(tmp_path / "none", ["ours"])
    assert (within.disk, within.sees_our_files) == (Path("/"), False)


def test_an_engine_that_is_away_is_named_by_its_address(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachableError, match=f"no Docker engine answers .unix://{tmp_path}/none.sock"):
        Engine(f"unix://{tmp_path}/none.sock").state()
