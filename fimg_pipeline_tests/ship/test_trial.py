"""What trying a bundle says, whatever becomes of it meanwhile."""

from __future__ import annotations

import threading
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fimg_pipeline.settings import load
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship import trial
from fimg_pipeline.ship.lock import Lock
from fimg_pipeline_tests.ship.test_folder import published


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return published(tmp_path / "x", fate=("fate.images.tar.gz",))


def tried(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch, run: Callable[[], tuple[int, str]]
) -> trial.Trial:
    """The trial of the lock's bundle in an engine where ``load.sh`` does ``run``."""

    class Second:
        def run(self, _command: Sequence[str]) -> tuple[int, str]:
            return run()

    @contextmanager
    def second_engine(*_arguments: Any) -> Iterator[Second]:
        yield Second()

    monkeypatch.setattr(trial, "second_engine", second_engine)
    monkeypatch.setattr(trial, "second_image", lambda *_arguments: "engine")
    (tmp_path / "home").mkdir(exist_ok=True)
    settings = load({"FIMG_HOME": str(tmp_path / "home")})
    disk = tmp_path / "disk"
    disk.mkdir(exist_ok=True)
    engine: Any = SimpleNamespace(disk=disk)
    return trial.load(engine, settings, tmp_path / "x", "fate", lock.bundles["fate"], lambda _line: None)


def test_the_last_line_is_the_summary_or_why_it_failed_before_it(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tried(tmp_path, lock, monkeypatch, lambda: (0, "checking\nfate: 1 images loaded and verified\n"))
    assert (done.passed, done.summary) == (True, "fate: 1 images loaded and verified")
    done = tried(tmp_path, lock, monkeypatch, lambda: (1, "checking\nload.sh: no\n"))
    assert (done.passed, done.summary) == (False, "checking; load.sh: no")


def test_a_bundle_that_was_replaced_meanwhile_has_not_been_tried(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path / "x", fate=("fate.images.tar.gz.part-001",))
    done = tried(tmp_path, lock, monkeypatch, lambda: (0, "fate: 1 images loaded and verified\n"))
    assert done.passed is None and "another run replaced it meanwhile" in done.summary


def test_while_a_bundle_is_tried_no_other_is_put_beside_it(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums are written anew then: for a moment there are none."""
    other = threading.Thread(
        target=published, args=(tmp_path / "x",), kwargs={"fate": ("fate.images.tar.gz.part-001",)}
    )

    def loads() -> tuple[int, str]:
        other.start()
        other.join(0.3)
        assert other.is_alive() and folders.current(tmp_path / "x") == lock
        return 0, "fate: 1 images loaded and verified\n"

    assert tried(tmp_path, lock, monkeypatch, loads).passed
    other.join(10)
    assert folders.current(tmp_path / "x") not in (None, lock)


def test_a_bundle_that_is_gone_has_not_been_tried(tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> tuple[int, str]:
        (tmp_path / "x" / folders.SUMS).unlink()
        return 1, "load.sh: SHA256SUMS is missing\n"

    assert tried(tmp_path, lock, monkeypatch, gone).passed is None


def test_where_the_engine_has_no_room_for_it_it_is_not_tried(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker unpacks what it loads twice; failing for that says nothing of the bundle."""
    usage = namedtuple("usage", "total used free")
    size = sum(layer.size for layer in lock.bundles["fate"].layers.values())
    reserve = 64 << 20
    free = {"disk": 0}
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: usage(1, 0, free["disk"] if folder == tmp_path / "disk" else 1 << 50)
    )

    def run() -> tuple[int, str]:
        return 0, "fate: 1 images loaded and verified\n"

    free["disk"] = reserve + 2 * size - 1
    done = tried(tmp_path, lock, monkeypatch, run)
    assert done.passed is None and f"could not be tried: {tmp_path / 'disk'} has" in done.summary
    free["disk"] = reserve + 2 * size
    assert tried(tmp_path, lock, monkeypatch, run).passed
