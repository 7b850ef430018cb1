"""What the kernel says about other architectures' programs, and how they are registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.engine import emulation
from fimg_pipeline.engine.emulation import EmulationError, ensure_emulation, is_runnable, parse_handler, registration
from fimg_pipeline.engine.host import host_architecture

ENABLED = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POF
offset 0
magic 7f454c460201010000000000000000000200b700
"""
LINE = r":qemu-aarch64:M::\x7fELF\x02:\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:"


def binfmt(folder: Path, text: str) -> Path:
    (folder / "qemu-aarch64").write_text(text)
    return folder


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
def test_images_need_an_enabled_handler_with_flag_f(tmp_path: Path, text: str, expected: bool) -> None:
    assert is_runnable("arm64", "amd64", binfmt=binfmt(tmp_path, text)) is expected


def test_native_programs_run_and_unregistered_ones_do_not(tmp_path: Path) -> None:
    assert is_runnable("arm64", "arm64", binfmt=tmp_path / "not mounted")
    assert not is_runnable("arm64", "amd64", binfmt=tmp_path / "not mounted")
    assert not is_runnable("amd64", "arm64", binfmt=binfmt(tmp_path, ENABLED))


@pytest.mark.parametrize("flags", ["OPF", "PO", ""])
def test_registrations_get_the_flags_images_need(flags: str) -> None:
    assert registration(f"# QEMU\n\n{LINE}{flags}\n", "qemu-aarch64") == f"{LINE}OPF"


def test_another_separator_is_kept() -> None:
    line = LINE.replace(":", "|")
    assert registration(f"{line}F", "qemu-aarch64") == f"{line}OPF"


@pytest.mark.parametrize("config", ["", "# nothing\n", ":qemu-arm:M::a:b:c:F\n", ":qemu-aarch64:M:\n"])
def test_a_config_without_the_registration_is_an_error(config: str) -> None:
    with pytest.raises(EmulationError, match=r"qemu-aarch64\.conf holds no registration"):
        registration(config, "qemu-aarch64")


def test_native_programs_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation, "require_root", lambda _: pytest.fail("asked for root"))
    ensure_emulation(host_architecture(), say=lambda line: pytest.fail(line))


def test_an_engine_on_another_machine_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = host_architecture()
    there = next(platform for platform in PLATFORMS if platform != here)
    monkeypatch.setattr(emulation, "is_runnable", lambda *_: False)
    with pytest.raises(EmulationError, match="the Docker engine is another machine"):
        ensure_emulation(here, say=print, native=there)
