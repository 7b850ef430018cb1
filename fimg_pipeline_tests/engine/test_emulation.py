"""What the kernel says about other architectures' programs, and how they are registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.emulation import EmulationError, ensure_emulation, parse_handler, registration
from fimg_pipeline.settings import load

ENABLED = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POF
offset 0
magic 7f454c460201010000000000000000000200b700
"""
LINE = r":qemu-aarch64:M::\x7fELF\x02:\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:"


class FakeEngine(Engine):
    """An engine on ``native`` whose kernel has ``handlers``: their text by name."""

    def __init__(self, native: Platform, handlers: Mapping[str, str], registered: str = ENABLED) -> None:
        self.native, self.handlers, self.registered = native, dict(handlers), registered
        self.built: list[str] = []
        self.lines: list[str] = []

    @property
    def platform(self) -> Platform:
        return self.native

    def build(self, context: Any, *, tag: str, **_: Any) -> str:
        self.built.append(tag)
        return "sha256:qemu"

    def run(self, reference: str, command: Any, *, timeout: int, administers: bool = False) -> tuple[int, str]:
        assert administers
        if command[0] == "cat":
            return 0, f"{LINE}OCPF\n"
        name, *lines = command[4:]
        if lines:
            assert reference == "sha256:qemu"  # the kernel opens the interpreter where the line is written
            self.lines += lines
            self.handlers[name] = self.registered
        return 0, self.handlers.get(name, "")


def ensured(engine: Engine, folder: Path, arch: Platform = "arm64") -> list[str]:
    said: list[str] = []
    settings = load({"FIMG_HOME": str(folder)}, environ={}, directory=folder)
    ensure_emulation(arch, engine, settings, debian=lambda: "debian:here", log=said.append)
    return said


def test_what_the_kernel_says() -> None:
    handler = parse_handler(ENABLED)
    assert (handler.enabled, handler.flags) == (True, "POF")
    assert handler.interpreter == "/usr/libexec/qemu-binfmt/aarch64-binfmt-P"
    assert handler.works_in_images


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENABLED, True),
        (ENABLED.replace("enabled", "disabled"), False),
        (ENABLED.replace("POF", "PO"), False),
        (ENABLED.replace("flags: POF\n", "flags: \n"), False),
        ("", False),
    ],
)
def test_images_need_an_enabled_handler_with_flag_f(text: str, expected: bool) -> None:
    assert parse_handler(text).works_in_images is expected


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
    engine = FakeEngine("arm64", {})
    assert ensured(engine, tmp_path) == [] and engine.built == []


def test_what_is_registered_is_left_alone(tmp_path: Path) -> None:
    engine = FakeEngine("amd64", {"qemu-aarch64": ENABLED})
    assert ensured(engine, tmp_path) == [] and engine.built == []


@pytest.mark.parametrize("before", ["", ENABLED.replace("POF", "P"), ENABLED.replace("enabled", "disabled")])
def test_what_images_cannot_use_is_registered_anew(tmp_path: Path, before: str) -> None:
    engine = FakeEngine("amd64", {"qemu-aarch64": before})
    assert ensured(engine, tmp_path) == [
        "registering QEMU with the engine's kernel, for running arm64 programs on amd64"
    ]
    assert engine.built == ["localhost/fimg/emulation:amd64"]
    assert engine.lines == [f"{LINE}OPF"]


def test_a_kernel_with_binfmt_switched_off_is_told(tmp_path: Path) -> None:
    engine = FakeEngine("amd64", {}, registered=ENABLED.replace("enabled", "disabled"))
    with pytest.raises(EmulationError, match="registered with the engine's kernel, but not enabled"):
        ensured(engine, tmp_path)


def test_an_engine_that_refuses_is_told(tmp_path: Path) -> None:
    class Refusing(FakeEngine):
        def run(self, *_: Any, **__: Any) -> tuple[int, str]:
            return 127, "can't be started: operation not permitted"

    with pytest.raises(EmulationError, match="operation not permitted") as caught:
        ensured(Refusing("amd64", {}), tmp_path)
    assert "register QEMU on its machine" in str(caught.value)
