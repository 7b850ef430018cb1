"""Folder trees as archives: same content, same bytes; nothing from outside."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from fimg_pipeline.engine.bases.tree import AddedFile, TreeRules, rewrite_archive, write_folder

LATEST = 1_700_000_000


def everything(path: str, folder: bool) -> bool:
    return True


def archived(root: Path, rules: TreeRules) -> bytes:
    output = io.BytesIO()
    write_folder(root, output, rules)
    return output.getvalue()


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: member for member in archive}


def read(content: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "bin").mkdir(parents=True)
    (root / "bin/b").write_text("b")
    (root / "bin/a").write_text("a")
    (root / "bin/a").chmod(0o4755)
    return root


def test_order_of_making_and_times_of_making_do_not_matter(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin/a").write_text("a")
    (other / "bin/a").chmod(0o4755)
    (other / "bin/b").write_text("b")
    os.utime(other / "bin", (LATEST + 5, LATEST + 5))
    rules = TreeRules(keep=everything, latest=LATEST)
    assert archived(tree, rules) == archived(other, rules)


def test_older_times_and_modes_are_kept(tree: Path) -> None:
    os.utime(tree / "bin/a", (1000, 1000))
    found = members(archived(tree, TreeRules(keep=everything, latest=LATEST)))
    assert found["bin/a"].mtime == 1000 and found["bin/a"].mode == 0o4755
    assert found["bin/b"].mtime == LATEST


def test_a_link_out_of_the_tree_is_archived_and_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (tree / "run").symlink_to(outside)
    (tree / "odd").symlink_to("./bin//a")
    found = members(archived(tree, TreeRules(keep=everything, latest=LATEST)))
    assert found["run"].issym() and found["run"].linkname == str(outside)
    assert found["odd"].linkname == "./bin//a"
    assert not any("secret" in name for name in found)


def test_hard_links_stay_links_and_pipes_are_left_out(tree: Path) -> None:
    os.link(tree / "bin/a", tree / "bin/z")
    os.mkfifo(tree / "pipe")
    found = members(archived(tree, TreeRules(keep=everything, latest=LATEST)))
    assert found["bin/z"].islnk() and found["bin/z"].linkname == "bin/a"
    assert "pipe" not in found


def test_a_hard_link_whose_first_name_is_left_out_is_a_file(tree: Path) -> None:
    os.link(tree / "bin/a", tree / "bin/z")
    content = archived(tree, TreeRules(keep=lambda path, _: path != "bin/a", latest=LATEST))
    assert members(content)["bin/z"].isreg() and read(content, "bin/z") == b"a"


def test_below_a_folder_that_is_left_out_nothing_is_kept(tree: Path) -> None:
    assert members(archived(tree, TreeRules(keep=lambda path, _: path != "bin", latest=LATEST))) == {}


def test_added_files_replace_the_trees_own(tree: Path) -> None:
    rules = TreeRules(keep=everything, latest=LATEST, added={"bin/a": AddedFile(b"new", 0o600)})
    content = archived(tree, rules)
    assert read(content, "bin/a") == b"new" and members(content)["bin/a"].mode == 0o600


def test_added_files_need_their_folder(tree: Path) -> None:
    with pytest.raises(ValueError, match="no folder etc"):
        archived(tree, TreeRules(keep=everything, latest=LATEST, added={"etc/a": AddedFile(b"")}))


def test_rewritten_content_has_its_own_size(tree: Path) -> None:
    content = archived(tree, TreeRules(keep=everything, latest=LATEST, rewrite=lambda path, old: old + path.encode()))
    assert read(content, "bin/b") == b"bbin/b"


def rewritten(content: bytes, folder: Path, rules: TreeRules) -> bytes:
    """What :func:`rewrite_archive` makes of an archive."""
    source, output = folder / "source.tar", io.BytesIO()
    source.write_bytes(content)
    rewrite_archive(source, output, rules)
    return output.getvalue()


def test_an_archive_is_as_good_as_its_folder(tree: Path, tmp_path: Path) -> None:
    os.link(tree / "bin/a", tree / "bin/z")
    (tree / "odd").symlink_to("./bin//a")
    rules = TreeRules(keep=everything, latest=LATEST, added={"bin/b": AddedFile(b"new", 0o600)})
    whole = archived(tree, TreeRules(keep=everything, latest=LATEST + 1000))
    assert rewritten(whole, tmp_path, rules) == archived(tree, rules)


def test_an_archives_hard_links_outlive_their_first_name(tree: Path, tmp_path: Path) -> None:
    for name in ("y", "z"):
        os.link(tree / "bin/a", tree / "bin" / name)
    whole = archived(tree, TreeRules(keep=everything, latest=LATEST))
    rules = TreeRules(keep=lambda path, _: path != "bin/a", latest=LATEST, rewrite=lambda _, old: old + b"!")
    content = rewritten(whole, tmp_path, rules)
    found = members(content)
    assert found["bin/y"].isreg() and read(content, "bin/y") == b"a!"
    assert found["bin/z"].islnk() and found["bin/z"].linkname == "bin/y"


def test_below_a_folder_of_an_archive_that_is_left_out_nothing_is_kept(tree: Path, tmp_path: Path) -> None:
    whole = archived(tree, TreeRules(keep=everything, latest=LATEST))
    assert members(rewritten(whole, tmp_path, TreeRules(keep=lambda path, _: path != "bin", latest=LATEST))) == {}


def test_devices_of_an_archive_are_left_out(tmp_path: Path) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        device = tarfile.TarInfo("null")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    assert members(rewritten(output.getvalue(), tmp_path, TreeRules(keep=everything, latest=LATEST))) == {}
