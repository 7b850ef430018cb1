"""Whether an engine runs another architecture's programs, and how its kernel is taught to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.catalog.platforms import Platform, platform_of
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.emulation import EmulationError, ensure_emulation, program, registration
from fimg_pipeline.settings import load

LINE = r":qemu-aarch64:M::\x7fELF\x02:\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:"


class FakeEngine(Engine):
    """An engine on amd64 that runs programs of ``known``; of arm64 after a registration, if it is ``teachable``."""

    def __init__(self, *known: Platform, teachable: bool = True) -> None:
        self.known, self.teachable = {"amd64", *known}, teachable
        self.built: list[str] = []
        self.lines: list[str] = []

    @property
    def platform(self) -> Platform:
        return "amd64"

    def build(self, context: Any, *, tag: str, **_: Any) -> str:
        self.built.append(tag)
        return tag

    def run(self, reference: str, command: Any, *, timeout: int, administers: bool = False) -> tuple[int, str]:
        if command == ["/program"]:
            assert not administers
            return (0, "") if reference.rpartition(":")[2] in self.known else (1, "exec format error")
        assert reference == "localhost/fimg/emulation/qemu:amd64"
        if command[0] == "cat":
            return 0, f"{LINE}OCPF\n"
        assert administers and command[4] == "qemu-aarch64"
        if not self.teachable:
            return 127, "can't be started: operation not permitted"
        self.lines.append(command[5])
        self.known.add("arm64")
        return 0, ""


def ensured(engine: Engine, folder: Path, arch: Platform = "arm64") -> list[str]:
    said: list[str] = []
    settings = load({"FIMG_HOME": str(folder)}, environ={}, directory=folder)
    ensure_emulation(arch, engine, settings, debian=lambda: "debian:here", log=said.append)
    return said


def test_the_program_of_this_machine_ends_well(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(program(platform_of(os.uname().machine)))
    file.chmod(0o755)
    assert subprocess.run([file], check=False).returncode == 0


@pytest.mark.parametrize("flags", ["OPF", "PO", ""])
def test_registrations_get_the_flags_images_need(flags: str) -> None:
    assert registration(f"# QEMU\n\n{LINE}{flags}\n", "qemu-aarch64") == f"{LINE}OPF"


def test_another_separator_is_kept() -> None:
    line = LINE.replace(":", "|")
    assert registration(f"{line}F", "qemu-aarch64") == f"{line}OPF"


@pytest.mark.parametrize("config", ["", "# nothing\n", ":qemu-arm:M::a:b:c:F\n", ":qemu-aarch64:M:\n"])
def test_a_config_without_the_registration_is_an_error(config: str) -> None:
    with pytest.raises(EmulationError, match="holds no registration of qemu-aarch64"):
        registration(config, "qemu-aarch64")


def test_native_programs_need_nothing(tmp_path: Path) -> None:
    engine = FakeEngine()
    assert ensured(engine, tmp_path, "amd64") == [] and engine.built == []


def test_an_engine_that_knows_how_is_left_alone(tmp_path: Path) -> None:
    engine = FakeEngine("arm64")
    assert ensured(engine, tmp_path) == []
    assert engine.built == ["localhost/fimg/emulation/program:arm64"]


def test_an_engine_is_taught(tmp_path: Path) -> None:
    engine = FakeEngine()
    assert ensured(engine, tmp_path) == [
        "registering QEMU with the engine's kernel, for running arm64 programs on amd64"
    ]
    assert engine.lines == [f"{LINE}OPF"]
    assert ensured(engine, tmp_path) == []


def test_an_engine_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(EmulationError, match="operation not permitted") as caught:
        ensured(FakeEngine(teachable=False), tmp_path)
    assert "tonistiigi/binfmt --install arm64" in str(caught.value)
