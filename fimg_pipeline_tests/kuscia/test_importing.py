"""One archive to several readers at once: who fails, hangs or reads nothing does not hold up or harm the others.

The readers are programs of this machine in the place of commands in containers.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.containers import Container, Feed
from fimg_pipeline.kuscia import importing
from fimg_pipeline.kuscia.importing import import_image
from fimg_pipeline.ship.bundle import Content
from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline.ship.saved import read_saved
from fimg_pipeline_tests.ship.archives import Image, saved_by_old_engine
from fimg_pipeline_tests.ship.publishing import noise

SIZE = 30_000_000


@dataclass(frozen=True)
class Program(Container):
    """Stands in for a container: commands run here."""

    @contextmanager
    def feed(self, command: Sequence[str]) -> Iterator[Feed]:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=said, bufsize=0)
            try:
                yield Feed(process, output, said)
            finally:
                process.kill()
                process.communicate()


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "store")


@pytest.fixture
def content(store: LayerStore) -> Content:
    archive = saved_by_old_engine([Image((noise(SIZE), noise(1000)))])
    (image,) = read_saved(io.BytesIO(archive), store, lambda _: None)
    return Content({"docker.io/a/b:1": image})


def imported(content: Content, store: LayerStore, **shells: str) -> dict[str, str]:
    nodes = [(Program(Engine(), name), ["sh", "-c", shell]) for name, shell in shells.items()]
    ended = import_image(nodes, content, store, lambda _: None)
    return {name: end.problem for name, end in ended.items() if end.problem is not None}


def test_all_get_the_same_whole_archive(content: Content, store: LayerStore, tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    assert imported(content, store, **{file.name: f"cat > {file}" for file in files}) == {}
    first, *others = [file.read_bytes() for file in files]
    assert all(other == first for other in others)
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        names = archive.getnames()
    assert names[0] == "manifest.json" and len(names) == 4 and len(first) > SIZE


def test_one_that_fails_harms_no_other(content: Content, store: LayerStore, tmp_path: Path) -> None:
    file = tmp_path / "whole"
    problems = imported(
        content,
        store,
        good=f"cat > {file}",
        early="head -c 5000 > /dev/null; echo unexpected EOF >&2; exit 1",
        late="cat > /dev/null; echo it does not fit >&2; exit 3",
        deaf="exec <&-; exit 7",
        kuscia="cat > /dev/null; echo no space left; echo 01:00 FATAL load.go:70 exit status 1; echo 0.1 s >&2; exit 1",
        killed="kill -9 $$",
    )
    assert problems == {
        "early": "it ended with 1: unexpected EOF",
        "late": "it ended with 3: it does not fit",
        "deaf": "it ended with 7: it said nothing",
        "kuscia": "it ended with 1: no space left; 0.1 s",
        "killed": "it was stopped",
    }
    assert file.stat().st_size > SIZE


def test_one_that_takes_nothing_is_given_up(
    content: Content, store: LayerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_STALL_SECONDS", 0.5)
    file = tmp_path / "whole"
    started = time.monotonic()
    problems = imported(content, store, good=f"cat > {file}", hanging="exec sleep 100")
    assert problems == {"hanging": "it took nothing for 0 s"} and file.stat().st_size > SIZE
    assert time.monotonic() - started < 30


def test_one_that_takes_nothing_is_given_up_though_all_would_fit_into_what_waits(
    store: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_STALL_SECONDS", 0.5)
    (image,) = read_saved(io.BytesIO(saved_by_old_engine([Image((noise(3_000_000),))])), store, lambda _: None)
    problems = imported(Content({"docker.io/a/b:1": image}), store, hanging="exec sleep 100")
    assert problems == {"hanging": "it took nothing for 0 s"}


def test_one_that_does_not_end_is_given_up(
    content: Content, store: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_END_SECONDS", 0.5)
    problems = imported(content, store, endless="cat > /dev/null; exec sleep 100")
    assert problems == {"endless": "the command has not ended within 0 s"}


def test_nobody_left_ends_at_once(content: Content, store: LayerStore) -> None:
    assert imported(content, store, a="exit 1", b="exit 2").keys() == {"a", "b"}


def test_an_archive_that_can_t_be_read_to_its_end_is_no_archive(
    content: Content, store: LayerStore, tmp_path: Path
) -> None:
    (image,) = content.images.values()
    layer = store.find(image.diff_ids[-1])
    assert layer is not None
    path = store.path(layer)
    rotten = bytearray(path.read_bytes())
    rotten[500] ^= 1
    path.chmod(0o644)
    path.write_bytes(rotten)
    with pytest.raises(ShipError):
        imported(content, store, a=f"cat > {tmp_path / 'cut'}")
    with pytest.raises(tarfile.ReadError), tarfile.open(tmp_path / "cut") as archive:
        archive.extractall(tmp_path / "out", filter="data")
