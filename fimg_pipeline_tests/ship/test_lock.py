"""``images.lock.json``, and what can be left out where its images are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.ship.layers import ShipError
from fimg_pipeline.ship.lock import Lock, LockedBundle, LockedImage, base_chains, leave_out, needs, read


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


A, B, C, D = map(digest, "abcd")


def lock(**images: tuple[str, ...]) -> Lock:
    locked = tuple(
        LockedImage(reference=f"x/{name}:1", id=digest("e"), layers=layers) for name, layers in images.items()
    )
    return Lock(tag="1", platform="amd64", bundles={"fate": LockedBundle(files=(), images=locked, layers={})})


BASE = base_chains(lock(left=(A, B), right=(A, C)))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([(A, B, D)], {A, B}),
        ([(A, D)], {A}),
        ([(D, A)], set()),
        ([(A, B), (D, A)], {B}),
        ([(B,)], set()),
        ([(A, B), (A, C)], {A, B, C}),
    ],
)
def test_a_layer_is_left_out_where_every_image_finds_it(images: list[tuple[str, ...]], expected: set[str]) -> None:
    """An engine knows a layer with all below it: the same tar on another one is another layer."""
    assert leave_out(images, BASE) == expected


def test_what_is_counted_on_is_named_by_an_image_that_has_it() -> None:
    images = [(A, B, D), (A, D), (A, C)]
    assert needs(images, leave_out(images, BASE), BASE) == {"x/left:1": (A, B), "x/right:1": (A, C)}


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = lock(left=(A, B))
    (tmp_path / "images.lock.json").write_text(written.text())
    assert read(tmp_path / "images.lock.json") == written


def changed(path: str, value: Any) -> str:
    data = json.loads(lock(left=(A, B)).text())
    place: Any = data
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is no JSON"),
        ("[]", "it must be a mapping"),
        ("{}", "tag is missing"),
        (changed("format", 2), "format must be 1"),
        (changed("tag", "x; rm -rf /"), "tag must match"),
        (changed("platform", "sparc"), "platform must be"),
        (changed("bundles.fate.images.0.reference", "$(id)"), "bundles.fate.images[0].reference must match"),
        (changed("bundles.fate.images.0.id", "sha256:../x"), "bundles.fate.images[0].id must match"),
        (
            changed("bundles.fate.images.0.layers", [7]),
            "bundles.fate.images[0].layers[0] must be text",
        ),
        (
            changed("bundles.fate.files", [{"name": "../x", "size": 1, "sha256": "0" * 64}]),
            "bundles.fate.files[0].name",
        ),
    ],
)
def test_what_is_no_lock_is_refused_with_the_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "images.lock.json").write_text(text)
    with pytest.raises(ShipError) as caught:
        read(tmp_path / "images.lock.json")
    assert told in str(caught.value)


def test_a_lock_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShipError, match="can't be read: No such file"):
        read(tmp_path / "images.lock.json")
