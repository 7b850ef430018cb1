"""The promises can be broken: what holds images against them notices."""

from __future__ import annotations

import subprocess

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
    }.items():
        assert broken(promised, {**kept, name: value}), name
    assert broken(promised, {**kept, "Env": ["A=2", "PATH=/x/bin:/bin"]}) == ["A is '2', not '1'"]
    assert broken(Promise("/", command=None), {"Cmd": ["sh"]}) == ["it has the command 'sh'"]


def test_what_is_not_there_is_named() -> None:
    promised = Promise(
        "/", programs=("no-such-program",), files=("/no/file",), same={"/etc": "/usr"}, writable=("/no/folder",)
    )
    said = subprocess.run(inside(promised), capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["no program no-such-program", "no /no/file", "/etc is not /usr", "/no/folder is not writable"]
