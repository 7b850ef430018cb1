"""The archive: what ``docker load`` takes, the same bytes for the same images, and read back before it counts."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from fimg_pipeline.ship.bundle import Content, size_of, verify, write
from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline.ship.saved import read_saved
from fimg_pipeline_tests.ship.archives import Image, diff_id, layer, saved_by_old_engine

BASE, LEFT, RIGHT = layer("base", 500_000), layer("left"), layer("right")
IMAGES = {"x/left:1": Image((BASE, LEFT)), "x/right:1": Image((BASE, RIGHT))}


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "store")


@pytest.fixture
def content(store: LayerStore) -> Content:
    found = read_saved(io.BytesIO(saved_by_old_engine(list(IMAGES.values()))), store, lambda _: None)
    return Content(dict(zip(IMAGES, found, strict=True)))


def test_it_holds_every_image_and_each_layer_once(content: Content, store: LayerStore, tmp_path: Path) -> None:
    (file,) = write(content, store, tmp_path, "x.tar.gz")
    assert file.size == (tmp_path / "x.tar.gz").stat().st_size == size_of(content, store)
    with tarfile.open(tmp_path / "x.tar.gz", "r:gz") as tar:
        members = {member.name: member for member in tar}
        assert next(iter(members)) == "manifest.json" and len(members) == 1 + 2 + 3
        assert all(member.isfile() and member.mtime == 0 for member in members.values())

        def content_of(name: str) -> bytes:
            extracted = tar.extractfile(members[name])
            assert extracted is not None
            return extracted.read()

        entries = json.loads(content_of("manifest.json"))
        assert [entry["RepoTags"] for entry in entries] == [[reference] for reference in IMAGES]
        for entry, image in zip(entries, IMAGES.values(), strict=True):
            assert content_of(entry["Config"]) == image.config
            assert [gzip.decompress(content_of(path)) for path in entry["Layers"]] == list(image.layers)


def test_equal_images_are_equal_bytes(content: Content, store: LayerStore, tmp_path: Path) -> None:
    one, other = write(content, store, tmp_path, "one"), write(content, store, tmp_path, "other")
    assert one[0].sha256 == other[0].sha256


def test_parts_are_the_file(content: Content, store: LayerStore, tmp_path: Path) -> None:
    (whole,) = write(content, store, tmp_path, "x.tar.gz")
    parts = write(content, store, tmp_path, "x.tar.gz", max_size=4000)
    assert [part.name for part in parts][:2] == ["x.tar.gz.part-001", "x.tar.gz.part-002"]
    assert {part.size for part in parts[:-1]} == {4000} and 0 < parts[-1].size <= 4000
    joined = b"".join((tmp_path / part.name).read_bytes() for part in parts)
    assert joined == (tmp_path / whole.name).read_bytes()
    verify(content, store, tmp_path, parts)


def test_a_tar_of_one_image_is_whole_and_plain(content: Content, store: LayerStore, tmp_path: Path) -> None:
    alone = Content({"x/left:1": content.images["x/left:1"]})
    files = write(alone, store, tmp_path, "left.image.tar", compressed=False)
    verify(alone, store, tmp_path, files, compressed=False)
    with tarfile.open(tmp_path / "left.image.tar", "r:") as tar:
        assert len(tar.getmembers()) == 4


def test_layers_that_are_there_are_left_out_but_named(content: Content, store: LayerStore, tmp_path: Path) -> None:
    delta = Content(content.images, frozenset({diff_id(BASE)}))
    files = write(delta, store, tmp_path, "x.tar.gz")
    verify(delta, store, tmp_path, files)
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        names = tar.getnames()
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        listed = json.load(manifest)[0]["Layers"]
    assert listed[0] == f"{diff_id(BASE)[7:]}.tar.gz" and listed[0] not in names and listed[1] in names


@pytest.mark.parametrize("place", [0, 700, 3000, -700, -1])
def test_a_flipped_bit_on_the_disk_is_noticed(content: Content, store: LayerStore, tmp_path: Path, place: int) -> None:
    files = write(content, store, tmp_path, "x.tar.gz")
    changed = bytearray((tmp_path / "x.tar.gz").read_bytes())
    changed[place] ^= 1
    (tmp_path / "x.tar.gz").write_bytes(changed)
    with pytest.raises(ShipError, match=r"x\.tar\.gz (is not on the disk as|could not be read back)"):
        verify(content, store, tmp_path, files)


@pytest.mark.parametrize("cut", [1, 100, 3000])
def test_a_cut_file_is_noticed(content: Content, store: LayerStore, tmp_path: Path, cut: int) -> None:
    files = write(content, store, tmp_path, "x.tar.gz")
    (tmp_path / "x.tar.gz").write_bytes((tmp_path / "x.tar.gz").read_bytes()[:-cut])
    with pytest.raises(ShipError, match=r"x\.tar\.gz (is not on the disk as|could not be read back)"):
        verify(content, store, tmp_path, files)


def test_another_content_is_noticed(content: Content, store: LayerStore, tmp_path: Path) -> None:
    alone = Content({"x/left:1": content.images["x/left:1"]})
    with pytest.raises(ShipError, match="is not on the disk as it was written"):
        verify(content, store, tmp_path, write(alone, store, tmp_path, "x.tar.gz"))


def test_a_layer_that_rotted_in_the_store_goes_into_no_bundle(
    content: Content, store: LayerStore, tmp_path: Path
) -> None:
    rotten = store.find(diff_id(LEFT))
    assert rotten is not None
    packed = bytearray(store.path(rotten).read_bytes())
    packed[-10] ^= 1
    store.path(rotten).write_bytes(packed)
    with pytest.raises(ShipError, match="is damaged"):
        write(content, store, tmp_path, "x.tar.gz")
    assert store.find(diff_id(LEFT)) is None, "so that the next run reads it anew"
