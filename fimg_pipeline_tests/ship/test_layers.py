"""The store of compressed layers."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline_tests.ship.archives import diff_id, layer


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path)


def test_a_layer_is_kept_as_gzip_under_its_diff_id(store: LayerStore) -> None:
    content = layer("x", 3_000_000)
    added = store.add(io.BytesIO(content).read)
    assert added.diff_id == diff_id(content) and added.size == len(content)
    packed = store.path(added).read_bytes()
    assert gzip.decompress(packed) == content
    assert (added.packed_size, added.packed_digest) == (len(packed), diff_id(packed))
    assert store.find(added.diff_id) == added


def test_equal_layers_are_equal_files_however_they_are_read(tmp_path: Path) -> None:
    content = layer("x", 3_000_000)
    source = io.BytesIO(content)
    one = LayerStore(tmp_path / "one").add(io.BytesIO(content).read)
    other = LayerStore(tmp_path / "other").add(lambda size: source.read(min(size, 777)))
    assert one == other


def test_what_fails_half_way_leaves_nothing(store: LayerStore, tmp_path: Path) -> None:
    def broken(size: int, given: list[int] = []) -> bytes:  # noqa: B006 - counts its calls
        given.append(size)
        if len(given) > 2:
            raise ShipError("the engine went away")
        return b"x" * 10_000

    with pytest.raises(ShipError, match="went away"):
        store.add(broken)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_that_was_cut_is_none(store: LayerStore) -> None:
    added = store.add(io.BytesIO(layer("x")).read)
    store.path(added).write_bytes(store.path(added).read_bytes()[:-1])
    assert store.find(added.diff_id) is None
    assert store.add(io.BytesIO(layer("x")).read) == added
    assert store.find(added.diff_id) == added


@pytest.mark.parametrize("record", ["", "{}", "[]", json.dumps({"diff_id": "sha256:" + "0" * 64, "more": 1})])
def test_a_damaged_record_is_none(store: LayerStore, record: str) -> None:
    added = store.add(io.BytesIO(layer("x")).read)
    store.path(added).with_name(f"{added.diff_id[7:]}.json").write_text(record)
    assert store.find(added.diff_id) is None


def test_a_damaged_configuration_is_none(store: LayerStore, tmp_path: Path) -> None:
    image_id = store.add_config(b"{}")
    assert store.config(image_id) == b"{}"
    (tmp_path / "configs" / f"{image_id[7:]}.json").write_bytes(b"{ }")
    assert store.config(image_id) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "sha256:../x", "sha256:" + "G" * 64, ""])
def test_what_is_no_digest_is_no_path(store: LayerStore, name: str) -> None:
    with pytest.raises(ShipError, match="is no digest"):
        store.find(name)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"../../etc/passwd"])
def test_a_name_that_leads_nowhere_is_none(store: LayerStore, content: bytes) -> None:
    """As a power cut leaves files: what an engine calls a layer is asked again."""
    store.remember("name", f"sha256:{'a' * 64}")
    assert store.diff_id("name") == f"sha256:{'a' * 64}"
    (store.folder / "names" / "name").write_bytes(content)
    assert store.diff_id("name") is None
