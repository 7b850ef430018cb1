"""Measures bundles and pushes on the sample's images, and renews their part of docs/performance.md.

Everything side by side in one run: ``docker save`` through gzip and pigz against a bundle, loading both into empty
engines, and a serial loop of ``docker push`` against ours, each to a fresh registry. Figures are ratios.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.performance import renew
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.second import SecondEngine, second_engine, second_image
from fimg_pipeline.sample import commit_change, create_sample
from fimg_pipeline.settings import load
from fimg_pipeline.ship import lock as locks
from fimg_pipeline.ship.collect import collect
from fimg_pipeline.ship.destination import Destination
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.ship.lock import Lock, LockedImage
from fimg_pipeline.ship.push import Publication, publication, push
from fimg_pipeline.ship.registry import Registry as Client
from fimg_pipeline.ship.save import Wanted, save
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.demo import remove_names
from fimg_pipeline_tests.rig.machine import require_command
from fimg_pipeline_tests.rig.registry import Registry, registry

PREFIX = "fimg-bench.invalid:5000/fate"
#: A file that one published image alone has.
CHANGED = "deploy/upgrade/sql/1.10.0-1.11.1.sql"


#: So often is done, side by side, what the disk's and the page cache's state makes come out differently.
ROUNDS = 3


class Times(defaultdict[str, list[float]]):
    """Seconds of wall time by what was done, each time it was done."""

    def __init__(self) -> None:
        super().__init__(list)

    def take(self, name: str, action: Callable[[], object]) -> None:
        started = time.monotonic()
        action()
        self[name].append(time.monotonic() - started)

    def median(self, name: str) -> float:
        return statistics.median(self[name])


@dataclass(frozen=True)
class Figures:
    """Seconds of wall time by what was done, and bytes by what was written."""

    seconds: Times
    sizes: dict[str, int]
    images: int

    def ratio(self, one: str, other: str) -> float:
        """Of what was done side by side, the median of the rounds' ratios."""
        if len(self.seconds[one]) == len(self.seconds[other]):
            return statistics.median(self.ratios(one, other))
        return self.seconds.median(one) / self.seconds.median(other)

    def ratios(self, one: str, other: str) -> list[float]:
        return [a / b for a, b in zip(self.seconds[one], self.seconds[other], strict=True)]


def quiet(_line: str) -> None:
    """What is done is not told: only how long it takes counts."""


def piped(references: Sequence[str], compress: Sequence[str], file: Path) -> None:
    """``docker save REFERENCES | COMPRESS > FILE``."""
    with (
        file.open("wb") as output,
        subprocess.Popen([Engine().cli, "save", *references], stdout=subprocess.PIPE) as saving,
    ):
        subprocess.run(compress, stdin=saving.stdout, stdout=output, check=True)
    if saving.returncode != 0:
        sys.exit("docker save failed")


def published(fimg: Fimg) -> list[LockedImage]:
    plan = json.loads(fimg.succeeds("plan", "--json"))
    references = [image["reference"] for image in plan["images"] if image["name"] in plan["push"]]
    records = Engine().state().by_reference
    return [LockedImage(reference=name, id=records[name].image_id, layers=()) for name in references]


@contextmanager
def empty(folder: Path) -> Iterator[SecondEngine]:
    engine = Engine()
    with second_engine(engine, second_image(engine, load(), quiet), {folder: "/bench"}, folder) as second:
        yield second


def loaded(second: SecondEngine, file: str) -> None:
    status, output = second.run(["docker", "load", "--quiet", "--input", f"/bench/{file}"])
    if status != 0:
        sys.exit(f"docker load of {file} failed: {output}")


def push_serially(target: Registry, images: Sequence[LockedImage]) -> None:
    """As the old script does: one ``docker push`` after another."""
    for image in images:
        name = image.reference.rpartition("/")[2].partition(":")[0]
        target.push(image.id, f"fate/{name}", "bench")


def push_ours(target: Registry, images: Sequence[Publication]) -> None:
    client = Client(target.name, f"http://{target.name}", None, True, quiet)
    push(Destination(client, "fate"), "bench", images, quiet)


def measure(folder: Path) -> Figures:
    require_command("pigz", "pigz", purpose="the comparison")
    engine = Engine()
    fimg = Fimg(
        folder / "fimg", create_sample(folder / "src"), {"PREFIX": PREFIX, "TAG": "bench", **switches(*Feature)}
    )
    fimg.folder.mkdir()
    fimg.succeeds("build", "all")
    images = published(fimg)
    references = [image.reference for image in images]
    header = Lock(tag="bench", platform="amd64", bundles={})
    shelf, seconds, sizes = folder / "shelf", Times(), dict[str, int]()
    shelf.mkdir()

    def bundle(name: str, store: LayerStore, wanted: Sequence[LockedImage], base: Lock | None = None) -> None:
        target = shelf / name
        lock = header.model_copy(update={"since": base.tag if base else None})
        seconds.take(name, lambda: save(engine, store, target, Wanted("fate", wanted, base=base), lock, quiet))
        sizes[name] = (target / "fate.images.tar.gz").stat().st_size

    # The first reading finds nothing in the page cache: nobody's is counted.
    piped(references, ["cat"], folder / "raw.tar")
    sizes["raw"] = (folder / "raw.tar").stat().st_size
    for number in range(ROUNDS):
        seconds.take("raw", lambda: piped(references, ["cat"], folder / "raw.tar"))
        for name in ("gzip", "pigz"):
            seconds.take(name, lambda name=name: piped(references, [name], shelf / f"{name}.tar.gz"))  # type: ignore[misc]
            sizes[name] = (shelf / f"{name}.tar.gz").stat().st_size
        shutil.rmtree(shelf / "bundle", ignore_errors=True)
        store = LayerStore(folder / f"store-{number}")
        bundle("bundle", store, images)
    (folder / "raw.tar").unlink()
    base = locks.read(shelf / "bundle" / "images.lock.json")

    for _ in range(ROUNDS):
        for name, file in (("gzip", "gzip.tar.gz"), ("bundle", "bundle/fate.images.tar.gz")):
            with empty(shelf) as second:
                seconds.take(f"load {name}", lambda file=file, second=second: loaded(second, file))  # type: ignore[misc]
                seconds.take(f"load {name} again", lambda file=file, second=second: loaded(second, file))  # type: ignore[misc]

    with registry() as target:
        seconds.take("docker push", lambda: push_serially(target, images))
    parts = collect(engine, store, [image.id for image in images], quiet)
    publications = [
        publication(image.reference.rpartition("/")[2].partition(":")[0], parts[image.id], store) for image in images
    ]
    with registry() as target:
        seconds.take("push", lambda: push_ours(target, publications))
        seconds.take("push again", lambda: push_ours(target, publications))

    # A change each: the second bundle of one would find read and compressed what the first had to.
    for name, since in (("after a change", None), ("delta", base)):
        commit_change(fimg.sample.fate, CHANGED, f"-- {name}\n", "One image changed")
        fimg.succeeds("build", "all")
        bundle(name, store, published(fimg), since)
    remove_names(engine, PREFIX)
    return Figures(seconds, sizes, len(images))


def report(figures: Figures) -> str:
    size = figures.sizes
    rows = [
        ("bundle, nothing compressed yet, against `docker save \\| gzip`", figures.ratio("bundle", "gzip")),
        ("the same against `docker save \\| pigz`", figures.ratio("bundle", "pigz")),
        ("the same against only reading the images (`docker save \\| cat > file`)", figures.ratio("bundle", "raw")),
        ("bundle after one image changed, against the first", figures.ratio("after a change", "bundle")),
        ("delta of such a change, against the first bundle", figures.ratio("delta", "bundle")),
        ("size of the bundle, against gzip's", size["bundle"] / size["gzip"]),
        ("size of the delta, against the bundle", size["delta"] / size["bundle"]),
        ("loading it into an empty engine, against gzip's archive", figures.ratio("load bundle", "load gzip")),
        ("loading it again, against the first time", figures.ratio("load bundle again", "load bundle")),
        ("loading gzip's archive again, against the first time", figures.ratio("load gzip again", "load gzip")),
        (
            "push, layers compressed before, against a serial loop of `docker push`",
            figures.ratio("push", "docker push"),
        ),
        (
            "bundle and push together, against that loop",
            (figures.seconds.median("bundle") + figures.seconds.median("push")) / figures.seconds.median("docker push"),
        ),
        ("push of what is there, against the first", figures.ratio("push again", "push")),
    ]
    table = "\n".join(f"| {what} | {value:.{2 if value >= 0.1 else 3}f} |" for what, value in rows)
    return f"""## Shipping

Written by `make bench` ({os.cpu_count()} cores): {figures.images} images of the sample, {size["raw"] / 1e6:.0f} MB as
`docker save` writes them, everything in one run, engines and registries fresh and on the same machine. Where it does
not say size, it is wall time.

| what | ratio |
|---|---|
{table}

Reading, compressing, bundling and loading were done {ROUNDS} times, one after the other: the median of these ratios is
told. The raw reading keeps one core of the engine busy and waits for nothing else; a bundle reads two archives at once
(on more cores up to four), compresses what comes, is written from the store, and read back from the disk. After a
change only what changed is read and compressed, the file is written and read anew.
The bundle took {figures.seconds.median("bundle"):.0f} s, `docker save | gzip`
{figures.seconds.median("gzip"):.0f} s, the loop of `docker push` {figures.seconds.median("docker push"):.0f} s. Against
the raw reading each was {", ".join(f"{ratio:.2f}" for ratio in figures.ratios("bundle", "raw"))}.
"""


def main() -> None:
    """Measures, and renews our part of the report."""
    with tempfile.TemporaryDirectory(prefix="fimg-bench-") as folder:
        text = report(measure(Path(folder)))
    renew("bench/ship.py", text)


if __name__ == "__main__":
    main()
