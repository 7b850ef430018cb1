"""A folder of bundles: whole, or without the file that says so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship.layers import ShipError
from fimg_pipeline.ship.lock import Lock, LockedBundle, LockedFile, LockedImage
from fimg_pipeline.ship.parts import file_of


def bundle(new: Path, *names: str) -> LockedBundle:
    files = []
    for name in names:
        (new / name).write_text(f"content of {name}")
        files.append(LockedFile(**vars(file_of(new / name))))
    digest = f"sha256:{'a' * 64}"
    return LockedBundle(
        files=tuple(files), images=(LockedImage(reference="x/y:1", id=digest, layers=(digest,)),), layers={}
    )


def published(folder: Path, **bundles: tuple[str, ...]) -> Lock:
    with folders.staging(folder) as new:
        lock = Lock(
            tag="1",
            platform="amd64",
            bundles={name: bundle(new, *names) for name, names in bundles.items()},
        )
        folders.publish(folder, new, lock)
    return lock


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


OURS = {"SHA256SUMS", "images.lock.json", "load.sh"}


def test_what_is_published_belongs_together(tmp_path: Path) -> None:
    lock = published(tmp_path / "x", fate=("fate.images.tar.gz",))
    assert names(tmp_path / "x") == {"fate.images.tar.gz", *OURS}
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "x", check=False)
    assert done.returncode == 0
    assert folders.current(tmp_path / "x") == lock


def test_what_is_replaced_goes_and_what_is_somebody_elses_stays(tmp_path: Path) -> None:
    published(tmp_path, fate=("fate.images.tar.gz.part-001", "fate.images.tar.gz.part-002", "fateflow.image.tar"))
    (tmp_path / "notes.txt").write_text("mine")
    published(tmp_path, fate=("fate.images.tar.gz",))
    assert names(tmp_path) == {"fate.images.tar.gz", "notes.txt", *OURS}


@pytest.mark.parametrize("harmed", ["fate.images.tar.gz", "images.lock.json", "load.sh"])
@pytest.mark.parametrize("gone", [True, False])
def test_what_was_damaged_is_replaced_though_the_sums_are_the_same(tmp_path: Path, harmed: str, gone: bool) -> None:
    published(tmp_path, fate=("fate.images.tar.gz",))
    good = (tmp_path / harmed).read_bytes()
    (tmp_path / harmed).unlink() if gone else (tmp_path / harmed).write_text("other")
    published(tmp_path, fate=("fate.images.tar.gz",))
    assert (tmp_path / harmed).read_bytes() == good


def test_sums_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    published(tmp_path, fate=("fate.images.tar.gz",))
    (tmp_path / "SHA256SUMS").write_bytes(b"\xff\xfe")
    published(tmp_path, fate=("fate.images.tar.gz",))
    assert (tmp_path / "SHA256SUMS").read_text().count("\n") == 3


def test_what_somebody_else_named_alike_stays(tmp_path: Path) -> None:
    published(tmp_path, fate=("fate.images.tar.gz.part-001", "fate.images.tar.gz.part-002"))
    for name in ("mine.images.tar.gz", "fateflow.image.tar", "fate.images.tar.gz.old"):
        (tmp_path / name).write_text("somebody's")
    published(tmp_path, fate=("fate.images.tar.gz",))
    strangers = {"mine.images.tar.gz", "fateflow.image.tar", "fate.images.tar.gz.old"}
    assert names(tmp_path) == {"fate.images.tar.gz", *strangers, *OURS}


@pytest.mark.parametrize("step", range(8))
def test_whenever_it_ends_the_next_one_knows_what_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed after any of its changes, a folder is whole, or has no sums and is made whole without leftovers."""
    published(tmp_path, fate=("fate.images.tar.gz.part-001", "fate.images.tar.gz.part-002"))
    changes = iter(range(step))

    def until_then(action: Any) -> Any:
        def change(*arguments: Any, **options: Any) -> Any:
            if next(changes, None) is None:
                raise KeyboardInterrupt
            return action(*arguments, **options)

        return change

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", until_then(Path.replace))
        patched.setattr(Path, "unlink", until_then(Path.unlink))
        try:
            published(tmp_path, fate=("fate.images.tar.gz",))
        except KeyboardInterrupt:
            assert folders.current(tmp_path) is None or step == 0
    published(tmp_path, fate=("other.images.tar.gz",))
    assert names(tmp_path) == {"other.images.tar.gz", *OURS}


def test_one_at_a_time_changes_a_folder_whoever_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    with ThreadPoolExecutor(1) as pool:
        with folders.staging(folder):
            waiting = pool.submit(published, folder, fate=("fate.images.tar.gz",))
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            assert not (folder / "SHA256SUMS").exists()
        waiting.result(10)
    assert names(folder) == {"fate.images.tar.gz", *OURS}


def test_a_folder_that_is_just_changed_is_none(tmp_path: Path) -> None:
    published(tmp_path, fate=("fate.images.tar.gz",))
    (tmp_path / "SHA256SUMS").unlink()
    assert folders.current(tmp_path) is None


def test_killed_at_any_rename_it_says_that_it_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path, fate=("fate.images.tar.gz",))
    real = Path.replace
    for survived in range(4):
        left = [survived]

        def replace(path: Path, target: Path, left: list[int] = left) -> Path:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(path, target)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            published(tmp_path, fate=("fate.images.tar.gz.part-001",))
        monkeypatch.undo()
        assert folders.current(tmp_path) is None
        assert not any(name.endswith(".new") for name in names(tmp_path))
    published(tmp_path, fate=("fate.images.tar.gz",))
    assert folders.current(tmp_path) is not None


def test_bundles_beside_stay_if_they_belong_and_are_there(tmp_path: Path) -> None:
    lock = published(tmp_path, **{"fate": ("fate.images.tar.gz",), "third-party": ("third-party.images.tar.gz",)})
    header = lock.model_copy(update={"bundles": {}})
    assert folders.others(tmp_path, header, "fate") == {"third-party": lock.bundles["third-party"]}
    (tmp_path / "third-party.images.tar.gz").unlink()
    assert folders.others(tmp_path, header, "fate") == {}


def test_bundles_beside_stay_though_somebody_was_stopped_while_publishing(tmp_path: Path) -> None:
    """Then nothing says that the folder is whole, and each of its files has to show that it is."""
    lock = published(tmp_path, fate=("fate.images.tar.gz",), third=("third.images.tar.gz", "mysql.image.tar"))
    (tmp_path / "SHA256SUMS").unlink()
    header = lock.model_copy(update={"bundles": {}})
    assert folders.others(tmp_path, header, "fate") == {"third": lock.bundles["third"]}
    (tmp_path / "mysql.image.tar").write_text("content of mysql.image.tbr")
    assert folders.others(tmp_path, header, "fate") == {}


def test_a_damaged_archive_is_not_whole(tmp_path: Path) -> None:
    lock = published(tmp_path, fate=("fate.images.tar.gz",))
    files = lock.bundles["fate"].files
    assert folders.is_whole(tmp_path, files)
    (tmp_path / "fate.images.tar.gz").write_text("other")
    assert not folders.is_whole(tmp_path, files)
    (tmp_path / "fate.images.tar.gz").unlink()
    assert not folders.is_whole(tmp_path, files)


def test_the_loader_is_a_shell_script_that_reads_no_value_as_code(tmp_path: Path) -> None:
    published(tmp_path, fate=("fate.images.tar.gz",))
    loader = tmp_path / "load.sh"
    assert loader.stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", str(loader)], check=False).returncode == 0
    text = loader.read_text()
    before, _, rest = text.partition("content='\n")
    content, _, _ = rest.partition("\n'\n")
    assert "@CONTENT@" not in text and "x/y:1" not in before
    assert content.splitlines()[:3] == ["platform amd64", "bundle fate", "file fate fate.images.tar.gz"]


#: A client that reads its input, as one on another machine does, and an engine that has the first image only.
GREEDY = """#!/bin/sh
cat > /dev/null
case "$*" in
    "version --format"*) echo amd64 ;;
    "image inspect"*" x/first:1") echo sha256:ID ;;
    "image inspect"*) exit 1 ;;
esac
"""

#: An engine that calls images by something else, and of the second has other layers. DRIVER tells what it is.
STRANGE = """#!/bin/sh
case "$*" in
    "version --format"*) echo amd64 ;;
    "info "*) echo "[[driver-type DRIVER]]" ;;
    "image inspect --format {{.Id}} "*) echo sha256:elsewhere ;;
    "image inspect"*" x/first:1") echo "sha256:ID " ;;
    "image inspect"*) echo "sha256:other " ;;
    load) cat > /dev/null ;;
esac
"""


def load(folder: Path, client: str, *names: str, needs: Mapping[str, tuple[str, ...]] | None = None) -> tuple[int, str]:
    """``load.sh`` of a bundle of images of one layer, by a client that is a script: status and what it complains of."""
    digest, script = f"sha256:{'a' * 64}", folder.parent / "docker"
    script.write_text(client.replace("sha256:ID", digest))
    script.chmod(0o755)
    with folders.staging(folder) as new:
        images = tuple(LockedImage(reference=f"x/{name}:1", id=digest, layers=(digest,)) for name in names)
        made = bundle(new, "fate.images.tar.gz").model_copy(update={"images": images, "needs": needs or {}})
        lock = Lock(tag="1", platform="amd64", since="0" if needs else None, bundles={"fate": made})
        folders.publish(folder, new, lock)
    done = subprocess.run(
        ["sh", folder / "load.sh", "fate"],
        env={**os.environ, "DOCKER": str(script)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_loader_checks_every_image_whatever_the_client_reads(tmp_path: Path) -> None:
    status, said = load(tmp_path / "x", GREEDY, "first", "second", "third")
    assert status == 1 and "x/first" not in said and "x/second:1" in said and "x/third:1" in said, said


def test_engines_that_keep_images_in_containerd_are_asked_for_layers(tmp_path: Path) -> None:
    """As Docker 29: what they call an image is the digest of a manifest, which says nothing to others."""
    containerd = STRANGE.replace("DRIVER", "io.containerd.snapshotter.v1")
    assert load(tmp_path / "x", containerd, "first") == (0, "")
    status, said = load(tmp_path / "x", containerd, "first", "second")
    assert status == 1 and "x/first" not in said and "x/second:1" in said, said
    status, said = load(tmp_path / "x", STRANGE.replace("DRIVER", "overlay2"), "first")
    assert status == 1 and "x/first:1" in said, "the layers of an image are not all of it"


def test_engines_that_keep_images_in_containerd_are_given_no_delta(tmp_path: Path) -> None:
    containerd = STRANGE.replace("DRIVER", "io.containerd.snapshotter.v1")
    status, said = load(tmp_path / "x", containerd, "first", needs={"x/first:0": (f"sha256:{'b' * 64}",)})
    assert status == 1 and "keeps its images in containerd" in said, said


def loader_of(folder: Path) -> tuple[Path, dict[str, str]]:
    """``load.sh`` of a folder with one bundle, and an environment whose docker client says what it wants to hear."""
    published(folder, fate=("fate.images.tar.gz",))
    client = folder.parent / "docker"
    client.write_text(
        f"""#!/bin/sh
case "$1 $2" in
    "load ") cat > {folder.parent}/loaded ;;
    "image inspect") echo sha256:{"a" * 64} ;;
    version*) echo amd64 ;;
esac
"""
    )
    client.chmod(0o755)
    return folder / "load.sh", {"PATH": os.environ["PATH"], "DOCKER": str(client)}


def run(loader: Path, environment: dict[str, str], shell: str = "sh", *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*shell.split(), str(loader), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["sh", "bash", "bash --posix"])
def test_a_loader_that_is_cut_off_anywhere_fails(tmp_path: Path, shell: str) -> None:
    loader, environment = loader_of(tmp_path / "x")
    assert run(loader, environment, shell, "fate") == (
        0,
        "verifying fate\nloading fate\nfate: 1 images loaded and verified\n",
    )
    whole = loader.read_bytes()
    begun = whole.index(b"{") + 1
    for length in (*range(begun, len(whole) - 1, 97), *range(len(whole) - 60, len(whole) - 1)):
        (tmp_path / "loaded").unlink(missing_ok=True)
        loader.write_bytes(whole[:length])
        status, output = run(loader, environment, shell)
        assert status != 0 and not (tmp_path / "loaded").exists(), (length, output)


def test_a_loader_with_another_byte_anywhere_does_not_say_that_all_is_well(tmp_path: Path) -> None:
    """Of the bytes that steer it, a sample: what it says it has loaded is loaded, or it fails."""
    loader, environment = loader_of(tmp_path / "x")
    whole = loader.read_bytes()
    silent = []
    for place in range(whole.index(b"set -eu"), len(whole), 17):
        (tmp_path / "loaded").unlink(missing_ok=True)
        harmed = bytearray(whole)
        harmed[place] ^= 1 << (place % 7)
        loader.write_bytes(harmed)
        status, output = run(loader, environment, "sh", "fate")
        if status == 0 and not (tmp_path / "loaded").exists():
            silent.append((place, output))
    assert not silent


@pytest.mark.parametrize("name", ["with space", "$(id)", "it's", "-dash", "new\nline", "end\n"])
def test_a_loader_runs_wherever_its_folder_is(tmp_path: Path, name: str) -> None:
    loader, environment = loader_of(tmp_path / name)
    status, output = run(loader, environment, "sh", "fate")
    assert status == 0, output
    relative = subprocess.run(
        ["sh", "--", f"{name}/load.sh", "fate"],
        cwd=tmp_path,
        env={**environment, "CDPATH": "/tmp:/usr"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert relative.returncode == 0, relative.stderr


def test_a_loader_needs_no_place_for_temporary_files(tmp_path: Path) -> None:
    """Old shells keep here-documents in files, and go on without them when there is no room."""
    loader, _ = loader_of(tmp_path / "x")
    assert "<<" not in loader.read_text()


def test_bundles_of_another_tag_are_not_replaced(tmp_path: Path) -> None:
    lock = published(tmp_path, fate=("fate.images.tar.gz",))
    with pytest.raises(ShipError, match="has bundles of 1 for amd64"):
        folders.others(tmp_path, lock.model_copy(update={"tag": "2"}), "fate")
    with pytest.raises(ShipError):
        folders.others(tmp_path, lock.model_copy(update={"since": "0", "base": "abc"}), "fate")
    assert folders.others(tmp_path, lock, "third-party").keys() == {"fate"}
