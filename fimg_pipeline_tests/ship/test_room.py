"""Room is looked for before anything is read: in the store, where the bundle goes, and on the engine's own disk."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.ship import room
from fimg_pipeline.ship.collect import collect
from fimg_pipeline.ship.layers import LayerStore, ShipError

Usage = namedtuple("Usage", "total used free")

pytestmark = pytest.mark.engine


@pytest.fixture
def debian(engine: Engine) -> str:
    record = engine.inspect(BASES["debian"].local_reference(engine.platform))
    assert record is not None
    return str(record["Id"])


@pytest.mark.parametrize("short", ["the store's", "the target's", "the engine's"])
def test_what_has_no_room_is_known_before_anything_is_read(
    engine: Engine, debian: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    store, target = LayerStore(tmp_path / "home/store"), tmp_path / "not/there/yet"
    place = {"the store's": store.folder, "the target's": tmp_path, "the engine's": engine.disk}[short]
    assert place is not None
    # As if each were a disk of its own.
    monkeypatch.setattr(room, "_disk_of", lambda folder: folder)
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: Usage(1, 0, 80_000_000 if folder == place else 1_000_000_000_000)
    )
    said: list[str] = []
    with pytest.raises(ShipError, match=rf"{place} has 0\.08 GB free, and 0\.\d\d GB are needed"):
        collect(engine, store, [debian], said.append, target=target)
    assert said == [] and not list((tmp_path / "home/store").rglob("*.tar.gz"))


def test_folders_on_one_disk_need_room_together(
    engine: Engine, debian: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them alone would fit."""
    store = LayerStore(tmp_path / "home/store")
    record = engine.inspect(debian)
    assert record is not None
    free = (64 << 20) + int(record["Size"] * 0.6)
    monkeypatch.setattr(room, "_disk_of", lambda folder: tmp_path if folder.is_relative_to(tmp_path) else folder)
    monkeypatch.setattr(
        "shutil.disk_usage",
        lambda folder: Usage(1, 0, free if folder.is_relative_to(tmp_path) else 1_000_000_000_000),
    )
    with pytest.raises(ShipError, match="GB are needed"):
        collect(engine, store, [debian], lambda _: None, target=tmp_path / "bundles")
    assert collect(engine, store, [debian], lambda _: None)
    # All of it is kept by now: nothing is read, and whoever writes looks for room himself.
    assert collect(engine, store, [debian], lambda _: None, target=tmp_path / "bundles")
