"""The promises can be broken: what holds images against them notices."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline_tests.promises import Promise, broken, inside, promise


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_configured_for_nothing_breaks_its_promises(name: str) -> None:
    assert broken(promise(name), {"WorkingDir": "/elsewhere"})


def test_what_is_not_kept_is_named() -> None:
    promised = Promise(
        "/x", environment={"A": "1"}, path=("/x/bin",), ports=(80,), command=("serve", "--all"), stop_signal="SIGQUIT"
    )
    kept = {
        "WorkingDir": "/x",
        "Env": ["A=1", "PATH=/x/bin:/bin"],
        "ExposedPorts": {"80/tcp": {}},
        "Cmd": ["serve", "--all"],
        "StopSignal": "SIGQUIT",
    }
    assert broken(promised, kept) == []
    for name, value in {
        "WorkingDir": "/y",
        "Env": ["A=1", "PATH=/bin:/x/bin"],
        "ExposedPorts": {},
        "Entrypoint": ["sh"],
        "Cmd": ["--all", "serve"],
        "StopSignal": "SIGTERM",
        "User": "nobody",
    }.items():
        assert broken(promised, {**kept, name: value}), name
    assert broken(promised, {**kept, "Env": ["A=2", "PATH=/x/bin:/bin"]}) == ["A is '2', not '1'"]
    assert broken(Promise("/", command=None), {"Cmd": ["sh"]}) == ["it has the command 'sh'"]


def test_what_is_not_there_is_named() -> None:
    promised = Promise(
        "/",
        programs=("no-such-program",),
        files=("/no/file",),
        folders=("/no/place",),
        same={"/etc": "/usr"},
        writable=("/no/folder",),
    )
    assert said(promised) == [
        "no program no-such-program",
        "no /no/file",
        "no /no/place",
        "/etc is not /usr",
        "/no/folder is not writable",
    ]


def test_what_is_there_but_empty_is_named(tmp_path: Path) -> None:
    for name in ("full/a.jar", "hollow/a.jar", "bare/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x" if name == "full/a.jar" else "")
    (tmp_path / "empty").mkdir()
    names = [
        f"{tmp_path}/{name}" for name in ("full", "full/*.jar", "full/a.jar", "hollow/a.jar", "bare/*.jar", "empty")
    ]
    assert said(Promise("/", files=tuple(names))) == [f"no {name}" for name in names[3:]]


def said(promised: Promise) -> list[str]:
    return subprocess.run(inside(promised), capture_output=True, text=True, check=True).stdout.splitlines()
