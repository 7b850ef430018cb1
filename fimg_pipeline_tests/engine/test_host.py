"""Commands and packages of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fimg_pipeline.engine import host
from fimg_pipeline.engine.host import (
    HostError,
    as_architecture,
    install_packages,
    require_command,
    require_root,
    run_logged,
    tail,
)


def test_architectures_by_dockers_name() -> None:
    assert [as_architecture(name) for name in ("x86_64", "amd64", "aarch64", "arm64")] == ["amd64"] * 2 + ["arm64"] * 2
    with pytest.raises(HostError, match="'s390x' is not supported"):
        as_architecture("s390x")


def test_the_tail_is_short_and_hides_passwords() -> None:
    text = "".join(f"line {number}\n\n" for number in range(40)) + "E: https://tok3n@mirror.example/debian 404\n"
    shown = tail(text, 3)
    assert shown.splitlines() == ["    line 38", "    line 39", "    E: https://***@mirror.example/debian 404"]


def test_a_failed_command_quotes_its_own_output_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_logged(["echo", "earlier"], log, what="talking")
    with pytest.raises(HostError, match=r"debootstrap failed \(exit 3\):\n    no such mirror\n  → check the network$"):
        run_logged(["sh", "-c", "echo no such mirror >&2; exit 3"], log, what="debootstrap", hint="check the network")
    assert log.read_text() == "earlier\nno such mirror\n"


def test_installing_needs_root_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said: list[str] = []
    with pytest.raises(HostError, match="bootstrapping needs debootstrap, which can't be installed") as caught:
        install_packages(["debootstrap"], purpose="bootstrapping", say=said.append)
    assert "install debootstrap with the system's package manager" in str(caught.value)
    assert said == []
    with pytest.raises(HostError, match="bootstrapping needs root"):
        require_root("bootstrapping")


def test_installing_needs_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "find_command", lambda _: None)
    with pytest.raises(HostError, match="this is no Debian or Ubuntu"):
        install_packages(["debootstrap"], purpose="bootstrapping", say=print)


def test_a_command_that_is_there_installs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "install_packages", lambda *_, **__: pytest.fail("installed"))
    assert require_command("sh", ["dash"], purpose="a test", say=print).endswith("/sh")


def test_a_package_without_the_command_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "install_packages", lambda *_, **__: None)
    with pytest.raises(HostError, match="the command no-such-command is still missing"):
        require_command("no-such-command", ["some-package"], purpose="a test", say=print)
