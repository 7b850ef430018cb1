"""What is said where no engine lets us in: what is wrong, and which variable mends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests

from fimg_pipeline.engine.connection import Connection
from fimg_pipeline.engine.errors import EngineError


def test_what_is_no_address_is_not_taken_for_a_host() -> None:
    for address in ("foo", "tcp://"):
        with pytest.raises(EngineError, match=f"^{address} is no address of an engine\n") as caught:
            Connection(address).open()
        begins = "is to be one, which begins with unix://, tcp://, ssh://"
        assert caught.value.hint == f"DOCKER_HOST_AMD64, or DOCKER_HOST_ARM64, {begins}"


def test_an_address_without_a_port_says_so() -> None:
    """Docker's client would take the one it is used to, the SDK none."""
    with pytest.raises(EngineError, match="no Docker engine answers"):
        Connection("tcp://127.0.0.1:1/behind/a/proxy").open()
    with pytest.raises(EngineError, match=r"^tcp://builder\.example is no address of an engine: it has no port\n"):
        Connection("tcp://builder.example").open()


def test_a_key_that_is_another_users_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is there, as far as the SDK sees, and not to be read when it is needed."""
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    may_read = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "key.pem" and may_read(path, mode))

    def refused(*_: object, **__: object) -> None:
        raise requests.exceptions.SSLError(PermissionError(13, "Permission denied"))

    monkeypatch.setattr(requests.Session, "send", refused)
    with pytest.raises(EngineError, match=f"can't be used: {tmp_path} has no key.pem that can be read\n"):
        Connection("tcp://builder.example:2376").open()


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    (tmp_path / "ca.pem").touch()
    with pytest.raises(
        EngineError, match=f"can't be used: {tmp_path} has no cert.pem, key.pem that can be read\n"
    ) as caught:
        Connection("tcp://builder.example:2376").open()
    assert caught.value.hint is not None and caught.value.hint.endswith("with ca.pem, cert.pem, key.pem")
    # Nor is a folder that can't be looked into an error of its own.
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / ("x" * 300)))
    with pytest.raises(EngineError, match=r"has no ca\.pem, cert\.pem, key\.pem"):
        Connection("tcp://builder.example:2376").open()


def test_the_variable_to_mend_is_the_one_that_names_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    hints = []
    for way in (Connection(), Connection("tcp://127.0.0.1:1")):
        with pytest.raises(EngineError, match="no Docker engine answers") as caught:
            way.open()
        hints.append(caught.value.hint)
    assert hints == [
        "start it there, or set DOCKER_HOST to where one is",
        "start it there, or set DOCKER_HOST_AMD64, or DOCKER_HOST_ARM64, to where one is",
    ]
