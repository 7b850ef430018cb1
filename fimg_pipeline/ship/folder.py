"""A folder of bundles: archives, ``images.lock.json``, ``load.sh``, and ``SHA256SUMS`` that says they belong together.

``SHA256SUMS`` goes first and comes last: a folder without it is one that is just being changed, and ``load.sh`` refuses
it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fimg_pipeline.ship import lock as locks
from fimg_pipeline.ship.layers import ShipError
from fimg_pipeline.ship.lock import Lock, LockedBundle, LockedFile
from fimg_pipeline.ship.parts import file_of
from fimg_pipeline.state import NEW, locked

#: The bundles of a folder, by name.
FATE: Final = "fate"
THIRD_PARTY: Final = "third-party"
BUNDLES: Final = (FATE, THIRD_PARTY)
SUMS: Final = "SHA256SUMS"
LOADER: Final = "load.sh"
_STAGING: Final = f".fimg{NEW}"
_TEMPLATE: Final = Path(__file__).with_name(LOADER)


def archive_name(bundle: str) -> str:
    return f"{bundle}.images.tar.gz"


def single_name(image: str) -> str:
    return f"{image}.image.tar"


_YOURS: Final = "choose a folder that is yours (--output, BUNDLE_DIR)"


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """An empty folder within ``folder`` for the block; nobody else has one there meanwhile, whoever it is."""
    new = folder / _STAGING
    with locked(_beside(folder, "lock"), hint=_YOURS):
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
        except OSError as error:
            raise ShipError(f"{new} can't be made: {error.strerror}", hint=_YOURS) from None
        try:
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """What is in ``folder`` stays as it is for the block: other bundles are published before it, or after it."""
    with locked(_beside(folder, "files.lock"), hint=_YOURS):
        yield


def _beside(folder: Path, ending: str) -> Path:
    """Not in the folder: all that is in it is carried away."""
    return folder.with_name(f".{folder.name}.{ending}")


def current(folder: Path) -> Lock | None:
    """The lock of a folder that is whole; ``None`` when it is not, or not one of this version."""
    return _lock(folder) if (folder / SUMS).is_file() else None


def _lock(folder: Path) -> Lock | None:
    """The lock of a folder, be it whole or not."""
    try:
        return locks.read(folder / locks.NAME)
    except ShipError:
        return None


def others(folder: Path, header: Lock, name: str) -> dict[str, LockedBundle]:
    """The bundles beside ``name`` that stay, with files that are there.

    :class:`ShipError` when they are of another tag or platform, or stand on another: none of them is lost.
    """
    lock = _lock(folder)
    if lock is None:
        return {}
    whole = current(folder) is not None
    if header.model_copy(update={"bundles": lock.bundles}) != lock:
        since = f", since {lock.since}" if lock.since else ""
        raise ShipError(
            f"{folder} has bundles of {lock.tag} for {lock.platform}{since}",
            hint="choose another folder (--output, BUNDLE_DIR), or remove it",
        )

    def there(file: LockedFile) -> bool:
        if not whole:
            # Whoever published it last was stopped: a file may be another than the lock says.
            return is_whole(folder, [file])
        path = folder / file.name
        return path.is_file() and path.stat().st_size == file.size

    return {
        other: bundle for other, bundle in lock.bundles.items() if other != name and all(map(there, bundle.all_files))
    }


def is_whole(folder: Path, files: Sequence[LockedFile]) -> bool:
    """Whether ``files`` are on the disk as they were written."""
    try:
        return all(LockedFile(**vars(file_of(folder / file.name))) == file for file in files)
    except OSError:
        return False


def publish(folder: Path, new: Path, lock: Lock) -> None:
    """Moves the archives in ``new`` to ``folder``, which holds what ``lock`` says then, and nothing else of ours."""
    with unchanged(folder):
        _publish(folder, new, lock)


def _publish(folder: Path, new: Path, lock: Lock) -> None:
    (new / locks.NAME).write_text(lock.text(), encoding="utf-8")
    (new / LOADER).write_text(loader(lock), encoding="utf-8")
    (new / LOADER).chmod(0o755)
    known = {file.name: file.sha256 for bundle in lock.bundles.values() for file in bundle.all_files}
    described = (file_of(new / locks.NAME), file_of(new / LOADER))
    known |= {file.name: file.sha256 for file in described}
    archives = {file.name for file in new.iterdir()} - {locks.NAME, LOADER}
    sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(known.items()))
    same = (folder / SUMS).is_file() and (folder / SUMS).read_bytes() == sums.encode()
    # What was written anew has its reason, though equal images are equal sums: the one that is there is damaged.
    if same and not archives and is_whole(folder, [LockedFile(**vars(file)) for file in described]):
        return
    (new / SUMS).write_text(sums, encoding="utf-8")
    for file in new.iterdir():
        _to_disk(file)
    replaced = _listed(folder)
    (folder / SUMS).unlink(missing_ok=True)
    for name in replaced - known.keys():
        (folder / name).unlink(missing_ok=True)
    # The lock goes before what it lists, so that what is ours is known whenever this ends.
    for file in sorted(new.iterdir(), key=lambda file: (file.name == SUMS, file.name != locks.NAME)):
        file.replace(folder / file.name)
    _to_disk(folder)


def _listed(folder: Path) -> set[str]:
    """The archives that the lock of a folder lists."""
    lock = _lock(folder)
    return set() if lock is None else {file.name for bundle in lock.bundles.values() for file in bundle.all_files}


def loader(lock: Lock) -> str:
    """``load.sh`` for what ``lock`` says. Its values are of narrow grammars, and the shell reads them as text."""
    lines = [f"platform {lock.platform}"]
    for name, bundle in lock.bundles.items():
        lines.append(f"bundle {name}")
        lines += [f"file {name} {file.name}" for file in bundle.files]
        lines += [f"image {name} {image.reference} {image.id} {' '.join(image.layers)}" for image in bundle.images]
        lines += _needs(name, bundle, lock.since)
    lines += [f"unsaved {name}" for name in BUNDLES if name not in lock.bundles]
    return _TEMPLATE.read_text(encoding="utf-8").replace("@CONTENT@", "\n".join(lines))


def _needs(name: str, bundle: LockedBundle, since: str | None) -> list[str]:
    if since is None:
        return []
    lines = [f"since {name} {since}"]
    return lines + [f"needs {name} {base} {' '.join(chain)}" for base, chain in bundle.needs.items()]


def _to_disk(path: Path) -> None:
    """What is renamed must not be empty after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
