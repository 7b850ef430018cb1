"""Offline bundles of the sample's images, loaded where operators load them: into engines that have nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.second import SecondEngine, second_engine, second_image
from fimg_pipeline.sample import commit_change
from fimg_pipeline.settings import load
from fimg_pipeline.ship import lock as locks
from fimg_pipeline.ship.lock import Lock, LockedBundle, LockedImage
from fimg_pipeline.ship.parts import file_of
from fimg_pipeline_tests.rig.command import Fimg, switches
from fimg_pipeline_tests.rig.demo import PREFIX, ids, reference, wait_until
from fimg_pipeline_tests.rig.registry import registry
from fimg_pipeline_tests.rig.standins import standin

pytestmark = pytest.mark.engine

#: A file of FATE that is in one published image only.
ONLY_IN_FUM = "deploy/upgrade/sql/1.10.0-1.11.1.sql"
FUM = "fate-upgrade-manager"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where bundles are written; second engines see it as ``/shelf``."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def saving(fimg: Fimg, engine: Engine, shelf: Path) -> Fimg:
    """The command with all images built, and an image for others' that is there."""
    fimg.succeeds("build", "all")
    others = BASES["debian"].local_reference(engine.platform)
    return replace(fimg, settings={**fimg.settings, "BUNDLE_DIR": str(shelf), "THIRD_PARTY_IMAGES": others})


@pytest.fixture(scope="module")
def small(saving: Fimg, shelf: Path) -> Fimg:
    """The same with one image selected, so that bundles are quickly written."""
    return replace(saving, settings={**saving.settings, **switches(Feature.FUM), "BUNDLE_DIR": str(shelf / "small")})


@pytest.fixture
def second(engine: Engine, shelf: Path) -> Iterator[SecondEngine]:
    """An engine that has nothing."""
    with second_engine(engine, second_image(engine, load(), print), {shelf: "/shelf"}, load().home) as started:
        yield started


@pytest.fixture
def newer(engine: Engine, shelf: Path) -> Iterator[SecondEngine]:
    """The engine of Debian 13; it keeps images in containerd, as those from Docker 29 on do."""
    image = standin(engine, "docker", "fimg-test.invalid/docker:debian-13")
    with second_engine(engine, image, {shelf: "/shelf"}, load().home) as started:
        yield started


def folder_of(fimg: Fimg, name: str = "demo-amd64") -> Path:
    return Path(fimg.settings["BUNDLE_DIR"]) / name


def delta_of(fimg: Fimg, base: Path) -> Path:
    """The folder of what leaves out what ``base`` has."""
    base_lock = locks.read(base / "images.lock.json")
    return folder_of(fimg, f"demo-amd64-since-demo-{locks.identity(base_lock)}")


def at(folder: Path, shelf: Path) -> str:
    """Where a second engine has a folder of the shelf."""
    return f"/shelf/{folder.relative_to(shelf)}"


def loaded(second: SecondEngine) -> dict[str, str]:
    """Ids of the images an engine has, by name."""
    status, output = second.run(["docker", "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"])
    assert status == 0, output
    return dict(line.split() for line in output.splitlines())


def test_all_published_images_are_in_one_archive_that_loads(saving: Fimg, engine: Engine) -> None:
    result = saving("save")
    assert result.status == 0, result.output
    assert "fate: 27 images loaded and verified" in result.output
    assert "third-party: 1 images loaded and verified" in result.output
    assert "writing fate.images.tar.gz" in result.output and "reading fate.images.tar.gz back" in result.output
    folder = folder_of(saving)
    lock = locks.read(folder / "images.lock.json")
    there = ids(engine)
    published = {reference(image.name): there[image.name] for image in IMAGES.values() if image.published}
    assert {image.reference: image.id for image in lock.bundles["fate"].images} == published
    plan = json.loads(saving("plan", "--json").output)
    assert lock.bundles["fate"].sources["fate"].commit == plan["source"]["commit"]
    fingerprints = {image["reference"]: image["fingerprint"] for image in plan["images"]}
    for image in lock.bundles["fate"].images:
        assert image.fingerprint == fingerprints[image.reference] and image.commit and image.digest
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert file_of(folder / name).sha256 == digest


def test_what_is_there_is_not_written_again(saving: Fimg) -> None:
    archive = folder_of(saving) / "fate.images.tar.gz"
    before = archive.stat()
    # That everything is built anew whenever it is built makes nothing outdated.
    result = saving("save", Docker_Options="--no-cache")
    assert result.status == 0 and result.output.count("reused") == 2, result.output
    assert archive.stat().st_mtime_ns == before.st_mtime_ns


def test_equal_images_are_equal_bytes_though_all_is_compressed_again(saving: Fimg) -> None:
    archive = folder_of(saving) / "fate.images.tar.gz"
    before = archive.read_bytes()
    shutil.rmtree(folder_of(saving))
    shutil.rmtree(saving.home / "store")
    saving.succeeds("save")
    assert archive.read_bytes() == before


def test_an_empty_engine_has_every_image_under_its_id(
    saving: Fimg, engine: Engine, second: SecondEngine, shelf: Path
) -> None:
    saving.succeeds("save")
    status, output = second.run(["sh", f"{at(folder_of(saving), shelf)}/load.sh"])
    assert status == 0, output
    there = ids(engine)
    wanted = {reference(image.name): there[image.name] for image in IMAGES.values() if image.published}
    assert len(wanted) == 27 and wanted.items() <= loaded(second).items()
    # And again, now that it has all of them.
    assert second.run(["sh", f"{at(folder_of(saving), shelf)}/load.sh"])[0] == 0


def test_an_engine_that_keeps_images_in_containerd_has_every_image(
    saving: Fimg, newer: SecondEngine, shelf: Path
) -> None:
    saving.succeeds("save")
    for _ in range(2):
        status, output = newer.run(["sh", f"{at(folder_of(saving), shelf)}/load.sh", "fate"])
        assert status == 0 and "fate: 27 images loaded and verified" in output, output
    assert {reference(image.name) for image in IMAGES.values() if image.published} <= set(loaded(newer))


def test_a_stale_image_is_carried_nowhere(small: Fimg) -> None:
    commit_change(small.sample.fate, ONLY_IN_FUM, f"-- stale {time.time()}\n", "Change")
    result = small("save")
    assert result.status == 1, result.output
    assert f"1 of 1 images are not up to date for amd64, tag demo: {FUM}" in result.output
    assert "fimg build" in result.output and not folder_of(small).exists()
    small.succeeds("build")


def test_a_place_that_is_none_is_told_before_a_run_begins(small: Fimg, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = small("save", "--output", str(tmp_path / "file"))
    assert result.status == 1 and f"{tmp_path}/file can't be written to: a file is there" in result.output
    assert "writing" not in result.output


def test_a_run_of_the_web_ui_writes_the_same(small: Fimg) -> None:
    small.succeeds("save")
    before = (folder_of(small) / "SHA256SUMS").read_bytes()
    shutil.rmtree(folder_of(small))
    process = small.materialize('key:"bundle/fate" or key:"bundle/third-party"', "amd64|demo")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert (folder_of(small) / "SHA256SUMS").read_bytes() == before


def test_parts_are_joined_by_the_loader(small: Fimg, second: SecondEngine, shelf: Path, engine: Engine) -> None:
    result = small("save", "--max-size", "20M", "--single", FUM)
    assert result.status == 0, result.output
    assert f"{FUM}.image.tar is larger than a part may be, and stays whole" in result.output
    parts = sorted(path.name for path in folder_of(small).glob("fate.images.tar.gz*"))
    assert parts[:2] == ["fate.images.tar.gz.part-001", "fate.images.tar.gz.part-002"]
    status, output = second.run(["sh", f"{at(folder_of(small), shelf)}/load.sh", "fate"])
    assert status == 0, output
    assert loaded(second)[reference(FUM)] == ids(engine)[FUM]
    # As one file again, the parts are gone.
    small.succeeds("save")
    assert [path.name for path in folder_of(small).glob("fate.images.tar.gz*")] == ["fate.images.tar.gz"]


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("truncate --size=-1000 fate.images.tar.gz", "fate.images.tar.gz is damaged: its SHA-256 is"),
        ("printf x | dd of=fate.images.tar.gz seek=70000 bs=1 conv=notrunc", "fate.images.tar.gz is damaged"),
        ("rm fate.images.tar.gz", "fate.images.tar.gz is missing: carry the whole folder"),
        ("rm SHA256SUMS", "SHA256SUMS is missing: carry the whole folder"),
        ("sed -i 's/amd64/arm64/' images.lock.json", "images.lock.json is damaged"),
        ("sed -i 's/^bundle fate/bundde fate/' load.sh", "load.sh is damaged: its SHA-256 is"),
        ("sed -i 's/$/\\r/' SHA256SUMS", "SHA256SUMS has no line for load.sh as it was written"),
    ],
)
def test_what_was_harmed_on_the_way_is_refused(
    small: Fimg, second: SecondEngine, shelf: Path, harm: str, told: str
) -> None:
    small.succeeds("save")
    carried = f"cp -r {at(folder_of(small), shelf)} /carried; cd /carried; {harm}"
    status, output = second.run(["sh", "-ec", carried])
    assert status == 0, output
    status, output = second.run(["sh", "/carried/load.sh"])
    assert status == 1 and told in output, output
    assert loaded(second) == {}, "nothing is loaded before all is verified"


def test_an_image_that_is_not_the_saved_one_is_told(small: Fimg, second: SecondEngine, shelf: Path) -> None:
    """As after an archive that was repacked by somebody, with sums of its own."""
    small.succeeds("save")
    image_id = locks.read(folder_of(small) / "images.lock.json").bundles["fate"].images[0].id
    harm = f"cp -r {at(folder_of(small), shelf)} /carried; cd /carried; sed -i s/{image_id[7:]}/{'0' * 64}/ load.sh"
    assert second.run(["sh", "-ec", harm])[0] == 0
    sums = "cd /carried; sed -i '/load.sh/d' SHA256SUMS; sha256sum load.sh >> SHA256SUMS"
    assert second.run(["sh", "-ec", sums])[0] == 0
    status, output = second.run(["sh", "/carried/load.sh"])
    assert status == 1 and "these images are not there as they were saved" in output and reference(FUM) in output


def test_a_folder_that_lacks_a_bundle_says_so(small: Fimg, second: SecondEngine, shelf: Path, tmp_path: Path) -> None:
    """As after a save of which a bundle failed."""
    failed = small("save", "--output", str(shelf / "half"), THIRD_PARTY_IMAGES="registry.invalid/none:1")
    assert failed.status == 1
    place = at(shelf / "half" / "demo-amd64", shelf)
    status, output = second.run(["sh", f"{place}/load.sh"])
    assert status == 1 and "fate: 1 images loaded and verified" in output, output
    assert "fimg save has not finished this folder; it lacks: third-party" in output
    assert second.run(["sh", f"{place}/load.sh", "fate"])[0] == 0


def test_whichever_is_written_last_the_folder_is_the_same(small: Fimg, shelf: Path) -> None:
    def files(output: str) -> dict[str, str]:
        small.succeeds("save", "--output", str(shelf / output), "--single", FUM)
        folder = shelf / output / "demo-amd64"
        return {path.name: file_of(path).sha256 for path in folder.iterdir()}

    first = files("one")
    archive = shelf / "one" / "demo-amd64" / "third-party.images.tar.gz"
    archive.write_bytes(b"damaged")
    assert files("one") == first == files("two")


def test_only_what_is_not_there_is_written(small: Fimg, shelf: Path) -> None:
    folder = shelf / "singles" / "demo-amd64"
    small.succeeds("save", "--output", str(shelf / "singles"))
    before = (folder / "fate.images.tar.gz").stat().st_mtime_ns
    assert "writing fate.images.tar.gz" not in small.succeeds(
        "save", "--output", str(shelf / "singles"), "--single", FUM
    )
    assert (folder / f"{FUM}.image.tar").is_file() and (folder / "fate.images.tar.gz").stat().st_mtime_ns == before
    output = small.succeeds("save", "--output", str(shelf / "singles"))
    assert not (folder / f"{FUM}.image.tar").exists()
    assert f"{FUM}.image.tar is no part of this any more and is removed" in output + logs(small)


def logs(fimg: Fimg) -> str:
    """What all runs wrote down."""
    return "".join(path.read_text() for path in fimg.home.glob("runs/*/logs/*.log"))


def test_a_delta_stands_on_what_is_there(small: Fimg, second: SecondEngine, shelf: Path, engine: Engine) -> None:
    small.succeeds("save")
    base = folder_of(small)
    full = (base / "fate.images.tar.gz").stat().st_size
    commit_change(small.sample.fate, ONLY_IN_FUM, f"-- changed {time.time()}\n", "Change")
    small.succeeds("build")
    result = small("save", "--since", str(base / "images.lock.json"))
    assert result.status == 0, result.output
    for name in ("fate", "third-party"):
        told = f"refused by an empty engine; with what it stands on: {name}: 1 images loaded and verified"
        assert told in result.output
    delta = delta_of(small, base)
    assert (delta / "fate.images.tar.gz").stat().st_size < full / 10
    status, output = second.run(["sh", f"{at(delta, shelf)}/load.sh", "fate"])
    assert status == 1 and f"  {reference(FUM)}" in output, output
    assert loaded(second) == {}
    assert second.run(["sh", f"{at(base, shelf)}/load.sh", "fate"])[0] == 0
    status, output = second.run(["sh", f"{at(delta, shelf)}/load.sh", "fate"])
    assert status == 0, output
    assert loaded(second)[reference(FUM)] == ids(engine)[FUM]


def test_a_delta_is_refused_by_an_engine_that_keeps_images_in_containerd(
    small: Fimg, newer: SecondEngine, shelf: Path
) -> None:
    small.succeeds("save")
    base = folder_of(small)
    commit_change(small.sample.fate, ONLY_IN_FUM, f"-- changed again {time.time()}\n", "Change")
    small.succeeds("build")
    small.succeeds("save", "--since", str(base / "images.lock.json"))
    delta = delta_of(small, base)
    assert newer.run(["sh", f"{at(base, shelf)}/load.sh", "fate"])[0] == 0
    before = loaded(newer)
    status, output = newer.run(["sh", f"{at(delta, shelf)}/load.sh", "fate"])
    assert status == 1 and "keeps its images in containerd" in output, output
    assert loaded(newer) == before


def test_a_delta_that_has_nothing_in_common_with_its_base_loads_by_itself(small: Fimg, tmp_path: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    stranger = LockedImage(reference="x/y:1", id=digest, layers=(digest,))
    bundle = LockedBundle(files=(), images=(stranger,), layers={})
    (tmp_path / "lock.json").write_text(Lock(tag="_1", platform="amd64", bundles={"fate": bundle}).text())
    result = small("save", "--since", str(tmp_path / "lock.json"), "--output", str(tmp_path))
    assert result.status == 0 and "fate: 1 images loaded and verified" in result.output, result.output


def test_a_single_image_is_imported_by_containerd(small: Fimg, second: SecondEngine, shelf: Path) -> None:
    result = small("save", "--single", FUM)
    assert result.status == 0, result.output
    ctr = ["ctr", "--address", "/run/docker/containerd/containerd.sock", "--namespace", "k8s.io", "images"]
    status, output = second.run([*ctr, "import", f"{at(folder_of(small), shelf)}/{FUM}.image.tar"])
    assert status == 0, output
    status, output = second.run([*ctr, "check"])
    assert status == 0 and reference(FUM) in output and "complete" in output and "incomplete" not in output, output


def test_images_of_others_are_pulled_by_digest(small: Fimg, engine: Engine, tmp_path: Path) -> None:
    name = f"fimg-test/run-{uuid.uuid4().hex[:12]}"
    with registry() as hub:
        digest = hub.push(BASES["debian"].local_reference(engine.platform), name, "8.0.28")
        result = small(
            "save",
            "--output",
            str(tmp_path),
            DOCKER_HUB_MIRROR=hub.name,
            THIRD_PARTY_IMAGES=f"{name}:8.0.28",
        )
    assert result.status == 0, result.output
    (image,) = locks.read(tmp_path / "demo-amd64" / "images.lock.json").bundles["third-party"].images
    assert (image.reference, image.digest) == (f"{name}:8.0.28", digest)
    engine.remove(f"localhost/fimg/third-party/{name}:8.0.28-{engine.platform}")


def test_what_no_registry_has_fails_with_what_to_do_and_harms_no_other_bundle(small: Fimg, tmp_path: Path) -> None:
    name = f"{PREFIX}/nowhere:1"
    result = small("save", "--output", str(tmp_path), THIRD_PARTY_IMAGES=name)
    assert result.status == 1, result.output
    assert f"{name} is not on the engine for amd64, and can't be pulled" in result.output
    assert "THIRD_PARTY_IMAGES" in result.output and "Traceback" not in result.output
    assert set(locks.read(tmp_path / "demo-amd64" / "images.lock.json").bundles) == {"fate"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--max-size", "much"], "must be a size such as 700M or 2G"),
        (["--max-size", "1000"], "must be at least 1M"),
        (["--single", "nginx"], "--single nginx: that image is not in the bundle"),
        (["--since", "/nowhere.json"], "/nowhere.json can't be read"),
        (["--output", "/a b"], "output '/a b': must be a path"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_done(small: Fimg, arguments: list[str], told: str) -> None:
    result = small("save", *arguments)
    assert result.status in (1, 2) and told in result.output, result.output


def test_a_place_that_is_taken_is_told(small: Fimg, tmp_path: Path) -> None:
    place = tmp_path / folder_of(small).name / "fate.images.tar.gz"
    place.mkdir(parents=True)
    result = small("save", "--output", str(tmp_path))
    assert result.status == 1 and f"{place} can't be written: Is a directory" in result.output, result.output


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("moment", ["reading", "writing", "trying"])
def test_a_save_that_ends_early_leaves_no_half_and_the_next_completes(
    small: Fimg, engine: Engine, moment: str, sent: signal.Signals
) -> None:
    folder, new = folder_of(small), small.home / "store" / "new"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(small.home / "store", ignore_errors=True)
    shutil.rmtree(small.home / "loaded", ignore_errors=True)
    engines = small.home / "second"
    signs: dict[str, Callable[[], object]] = {
        "reading": lambda: new.is_dir() and any(file.stat().st_size > 1_000_000 for file in listed(new)),
        "writing": lambda: any(file.stat().st_size > 1_000_000 for file in listed(folder / ".fimg.new")),
        "trying": lambda: any(engine.sdk.containers.list(filters={"name": file.name}) for file in listed(engines)),
    }
    process = small.start("save")
    wait_until(signs[moment], f"it was not {moment}")
    os.killpg(process.pid, sent)
    status = process.wait(timeout=60)
    if sent == signal.SIGINT:
        assert status == 130 and "interrupted; what was finished is kept" in small.said.read_text()
        assert listed(new) == [] and listed(engines) == [] and not (folder / ".fimg.new").exists()
    if moment != "trying":
        assert not (folder / "SHA256SUMS").exists() and not (folder / "fate.images.tar.gz").exists()
    left = {file.name for file in listed(engines)}
    result = small("save")
    assert result.status == 0 and "fate: 1 images loaded and verified" in result.output, result.output
    assert listed(new) == [] and listed(engines) == []
    for name in left:
        assert engine.sdk.containers.list(all=True, filters={"name": name}) == []


def listed(folder: Path) -> list[Path]:
    """What is in a folder, as far as it is still there."""
    return [path for path in folder.iterdir() if path.exists()] if folder.is_dir() else []


def test_nothing_of_ours_is_left_half_written(saving: Fimg, shelf: Path) -> None:
    assert [*shelf.rglob("*.new"), *(saving.home / "store" / "new").iterdir()] == []
