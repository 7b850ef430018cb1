"""A folder of bundles: whole, or without the file that says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fimg_pipeline.ship import folder as folders
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
            sources={},
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
    assert folders.others(tmp_path, header.model_copy(update={"tag": "2"}), "fate") == {}
    (tmp_path / "third-party.images.tar.gz").unlink()
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
    before, _, rest = text.partition("cat << 'END_OF_CONTENT'\n")
    content, _, _ = rest.partition("\nEND_OF_CONTENT\n")
    assert "@CONTENT@" not in text and "x/y:1" not in before
    assert content.splitlines()[:3] == ["platform amd64", "bundle fate", "file fate fate.images.tar.gz"]
