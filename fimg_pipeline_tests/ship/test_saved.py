"""Reading engines' archives: both forms, whole or an error, each layer once."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fimg_pipeline.ship import saved
from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline.ship.saved import kept, read_saved
from fimg_pipeline_tests.ship.archives import (
    Image,
    containerd_id,
    diff_id,
    layer,
    saved_by_new_engine,
    saved_by_old_engine,
    tar_of,
)

BASE, LEFT, RIGHT = layer("base"), layer("left"), layer("right")
IMAGES = (Image((BASE, LEFT)), Image((BASE, RIGHT)), Image((RIGHT, BASE), "the same layers on others"))


def packed(images: tuple[Image, ...]) -> bytes:
    return saved_by_new_engine(images, packed=True)


FORMS = pytest.mark.parametrize("form", [saved_by_old_engine, saved_by_new_engine, packed])
Form = Callable[[tuple[Image, ...]], bytes]


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "store")


def read(archive: bytes, store: LayerStore) -> tuple[list[saved.SavedImage], list[str]]:
    said: list[str] = []
    return read_saved(io.BytesIO(archive), store, said.append), said


@FORMS
def test_images_and_layers_come_out_as_they_are(store: LayerStore, form: Form) -> None:
    found, said = read(form(IMAGES), store)
    assert [image.image_id for image in found] == [image.image_id for image in IMAGES]
    assert [image.diff_ids for image in found] == [tuple(map(diff_id, image.layers)) for image in IMAGES]
    for content in (BASE, LEFT, RIGHT):
        there = store.find(diff_id(content))
        assert there is not None and there.size == len(content)
    assert all(kept(store, image.image_id) for image in IMAGES)
    assert len([line for line in said if diff_id(LEFT)[7:19] in line]) == 1


@FORMS
def test_what_was_read_once_is_not_read_again(store: LayerStore, form: Form) -> None:
    read(form(IMAGES[:1]), store)
    _, said = read(form(IMAGES[:2]), store)
    assert len(said) == 1 and diff_id(RIGHT)[7:19] in said[0]


@FORMS
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_half_an_archive_is_an_error(store: LayerStore, form: Form, share: float) -> None:
    whole = form(IMAGES).rstrip(b"\0")
    with pytest.raises(ShipError, match="archive"):
        read(whole[: int(len(whole) * share)], store)


def test_other_layers_than_the_configuration_says_are_an_error(store: LayerStore) -> None:
    """An engine that gives something else under a layer's name would make bundles that don't load."""
    archive = saved_by_old_engine((Image((BASE, LEFT)),))
    with pytest.raises(ShipError, match="other layers than image sha256:"):
        read(archive.replace(b"leftleft", b"lostlost"), store)


def test_what_is_no_archive_is_an_error(store: LayerStore) -> None:
    with pytest.raises(ShipError, match="archive"):
        read(b"Error response from daemon", store)


def test_an_image_is_kept_when_all_of_it_is(store: LayerStore) -> None:
    read(saved_by_old_engine(IMAGES), store)
    lost = store.find(diff_id(LEFT))
    assert lost is not None
    store.path(lost).unlink()
    assert kept(store, IMAGES[0].image_id) is None
    assert kept(store, IMAGES[1].image_id) is not None


def test_an_image_is_found_by_what_its_engine_calls_it(store: LayerStore) -> None:
    read(saved_by_new_engine(IMAGES, packed=True), store)
    for image in IMAGES:
        found = kept(store, containerd_id(image))
        assert found is not None and found.image_id == image.image_id


@pytest.mark.parametrize("index", ["{", "[]", '{"manifests": [7]}', '{"manifests": [{"digest": "sha256:DIGEST"}]}'])
def test_an_index_that_leads_nowhere_is_an_error(store: LayerStore, index: str) -> None:
    """But one that names what is not in the archive: an engine may have images of which it lacks parts."""
    whole = saved_by_new_engine(IMAGES)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        members = {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar}
    strange = b'{"manifests": 7}'
    members["index.json"] = index.replace("DIGEST", diff_id(strange)[7:]).encode()
    members[f"blobs/sha256/{diff_id(strange)[7:]}"] = strange
    with pytest.raises(ShipError, match=r"index\.json that can't be read"):
        read(tar_of(members), store)


def test_small_layers_that_look_like_text_are_layers(store: LayerStore) -> None:
    image = Image((layer("{", 10),))
    assert read(saved_by_new_engine((image,)), store)[0][0].image_id == image.image_id
