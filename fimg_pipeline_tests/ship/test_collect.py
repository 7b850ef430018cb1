"""Reading an engine's images in several archives at once: how they are divided, and what is read twice."""

from __future__ import annotations

import _thread
import io
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from fimg_pipeline.engine.client import Engine, Saving
from fimg_pipeline.ship import collect as collecting
from fimg_pipeline.ship.collect import collect, shares
from fimg_pipeline.ship.layers import LayerStore, ShipError
from fimg_pipeline.ship.lock import Chain, chains
from fimg_pipeline_tests.ship.archives import Image, diff_id, layer, saved_by_old_engine

MB = 1_000_000


def sizes_of(images: dict[str, Chain], sizes: dict[str, int]) -> dict[Chain, int]:
    """By chain, from layers' sizes by their names."""
    return {chain: sizes[chain[-1]] for layers in images.values() for chain in chains(layers)}


def weight(images: dict[str, Chain], sizes: dict[Chain, int], part: Sequence[str]) -> int:
    return sum(sizes[chain] for chain in {chain for image in part for chain in chains(images[image])})


def test_what_shares_little_is_read_apart() -> None:
    images = {
        "one": ("debian", "python", "one"),
        "two": ("debian", "python", "two"),
        "web": ("debian", "web"),
        "java": ("debian", "java"),
    }
    sizes = sizes_of(images, {"debian": 10, "python": 300, "one": 100, "two": 100, "web": 200, "java": 220})
    assert sorted(map(sorted, shares(images, sizes, 2))) == [["java", "web"], ["one", "two"]]
    # As many parts as pay, not as many as may be: the largest would not be smaller, or too much be read again.
    assert shares(images, sizes, 9) == shares(images, sizes, 2)
    many: dict[str, Chain] = {f"leaf{number}": ("base", f"leaf{number}") for number in range(12)}
    weights = sizes_of(many, {"base": 120, **dict.fromkeys(many, 90)})
    assert sorted(map(len, shares(many, weights, 4))) == [4, 4, 4]


@pytest.mark.parametrize(
    "images",
    [
        {"alone": ("debian", "one")},
        {"one": ("debian", "heavy", "one"), "two": ("debian", "heavy", "two")},
        {"one": ("debian", "heavy"), "same": ("debian", "heavy")},
        {"below": ("debian", "heavy"), "above": ("debian", "heavy", "one")},
        {"empty": ()},
    ],
)
def test_what_shares_most_stays_together(images: dict[str, Chain]) -> None:
    sizes = sizes_of(images, {"debian": 10, "heavy": 300, "one": 50, "two": 50})
    assert shares(images, sizes, 4) == [list(images)]


@pytest.mark.parametrize("seed", range(100))
def test_each_image_is_in_one_part_and_little_is_read_again(seed: int) -> None:
    dice = random.Random(seed)
    images: dict[str, Chain] = {"root": ("debian",)}
    for number in range(dice.randrange(40)):
        images[f"image{number}"] = (*dice.choice(list(images.values())), f"layer{number}")
    sizes = {chain: dice.randrange(1000) for layers in images.values() for chain in chains(layers)}
    most = dice.randrange(1, 6)
    parts = shares(images, sizes, most)
    assert len(parts) <= most and sorted(image for part in parts for image in part) == sorted(images)
    whole = weight(images, sizes, list(images))
    weights = [weight(images, sizes, part) for part in parts]
    assert sum(weights) <= 1.25 * whole and (len(parts) == 1 or max(weights) < whole)
    assert parts == shares(images, sizes, most)


BASE, ONE, TWO = layer("base", 3 * MB), layer("one", 2 * MB), layer("two", 2 * MB)


class FakeEngine:
    """Images that an engine saves; what it sends of an archive goes through ``through``."""

    disk = None

    def __init__(self, *images: Image) -> None:
        self._images = {image.image_id: image for image in images}
        self.asked: list[list[str]] = []

    def inspect(self, image_id: str) -> dict[str, Any]:
        layers = self._images[image_id].layers
        return {"RootFS": {"Layers": [diff_id(content) for content in layers]}}

    def layer_sizes(self, image_id: str) -> list[int]:
        return [len(content) for content in self._images[image_id].layers]

    @contextmanager
    def save(self, image_ids: Sequence[str]) -> Iterator[Saving]:
        self.asked.append(sorted(image_ids))
        yield Saving(self.through(saved_by_old_engine([self._images[each] for each in image_ids])), lambda: None)

    def through(self, archive: bytes) -> io.BytesIO:
        return io.BytesIO(archive)

    @property
    def ids(self) -> list[str]:
        return list(self._images)


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "store")


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much the images have in common."""
    monkeypatch.setattr(collecting, "_AT_ONCE", 2)
    monkeypatch.setattr(collecting, "_READ_AGAIN", 1)


@pytest.mark.usefixtures("two_at_once")
def test_a_layer_of_two_archives_is_compressed_once(store: LayerStore) -> None:
    """Each archive waits within its first layer until the other is there too: both come to the base at once."""
    meeting = threading.Barrier(2)

    class Meeting(FakeEngine):
        def through(self, archive: bytes) -> io.BytesIO:
            class Stream(io.BytesIO):
                met = False

                def read(self, size: int | None = -1, /) -> bytes:
                    if self.tell() > MB and not self.met:
                        self.met = True
                        meeting.wait(20)
                    return super().read(size)

            return Stream(archive)

    engine, said = Meeting(Image((BASE, ONE)), Image((BASE, TWO))), list[str]()
    found = collect(cast(Engine, engine), store, engine.ids, said.append)
    assert len(engine.asked) == 2
    assert [image.diff_ids for image in found.values()] == [
        (diff_id(BASE), diff_id(ONE)),
        (diff_id(BASE), diff_id(TWO)),
    ]
    assert len([line for line in said if line.startswith("layer ")]) == 3


def test_what_two_runs_carry_at_once_is_read_once(store: LayerStore) -> None:
    engine, said = FakeEngine(Image((BASE, ONE))), list[str]()

    class Slow(FakeEngine):
        def through(self, archive: bytes) -> io.BytesIO:
            other.start()
            # The other one is there by now, and waits.
            other.join(0.5)
            assert other.is_alive()
            return io.BytesIO(archive)

    def carry() -> None:
        collect(cast(Engine, engine), store, engine.ids, said.append)

    other = threading.Thread(target=carry)
    slow = Slow(Image((BASE, ONE)))
    assert collect(cast(Engine, slow), store, slow.ids, lambda _: None)
    other.join(20)
    assert engine.asked == [] and said == [
        "waiting: another run reads images from the engine",
        "the images have been read from the engine meanwhile",
    ]


@pytest.mark.usefixtures("two_at_once")
def test_an_archive_that_fails_is_what_is_said(store: LayerStore) -> None:
    """And what the other gave is kept: the next time only the rest is read."""

    class Broken(FakeEngine):
        def through(self, archive: bytes) -> io.BytesIO:
            return io.BytesIO(archive[: 2 * MB] if TWO[512:1024] in archive else archive)

    images = Image((ONE,)), Image((TWO, BASE))
    broken, whole = Broken(*images), FakeEngine(*images)
    with pytest.raises(ShipError, match="archive can't be read"):
        collect(cast(Engine, broken), store, broken.ids, lambda _: None)
    assert len(broken.asked) == 2
    assert collect(cast(Engine, whole), store, whole.ids, lambda _: None)
    assert whole.asked == [[images[1].image_id]]


@pytest.mark.usefixtures("two_at_once")
def test_of_two_that_fail_for_one_reason_it_is_told_who_had_it(store: LayerStore) -> None:
    """One waits for a layer of the other, whose archive ends within it, and whose engine says why a little later."""

    class Broken(FakeEngine):
        @contextmanager
        def save(self, image_ids: Sequence[str]) -> Iterator[Saving]:
            archive = saved_by_old_engine([self._images[each] for each in image_ids])
            first = self.ids[0] in image_ids

            class Stream(io.BytesIO):
                def read(self, size: int | None = -1, /) -> bytes:
                    if first and self.tell() > MB:
                        # By now the base is claimed here.
                        begun.set()
                        return b""
                    if not first:
                        assert begun.wait(20)
                    return super().read(size)

            try:
                yield Saving(Stream(archive), lambda: None)
            finally:
                if first:
                    time.sleep(0.3)
                    raise ShipError("the engine went away")

    begun = threading.Event()
    engine = Broken(Image((BASE, ONE)), Image((BASE, TWO)))
    with pytest.raises(ShipError, match="the engine went away"):
        collect(cast(Engine, engine), store, engine.ids, lambda _: None)


@pytest.mark.usefixtures("two_at_once")
def test_whoever_interrupts_it_does_not_wait_for_the_engine(store: LayerStore) -> None:
    stopped = [threading.Event(), threading.Event()]
    waiting = threading.Barrier(2, _thread.interrupt_main)

    class Endless(FakeEngine):
        @contextmanager
        def save(self, image_ids: Sequence[str]) -> Iterator[Saving]:
            self.asked.append(list(image_ids))
            stop = stopped[len(self.asked) - 1]

            class Stream(io.BytesIO):
                def read(self, size: int | None = -1, /) -> bytes:
                    waiting.wait(20)
                    assert stop.wait(20)
                    return b""

            yield Saving(Stream(), stop.set)

    engine = Endless(Image((ONE,)), Image((TWO,)))
    with pytest.raises(KeyboardInterrupt):
        collect(cast(Engine, engine), store, engine.ids, lambda _: None)
    assert all(event.is_set() for event in stopped)
