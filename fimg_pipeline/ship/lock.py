"""``images.lock.json``: what a folder of bundles holds, for people, for the next bundle, and for registrations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.schema import first_problem
from fimg_pipeline.ship.layers import ShipError

NAME: Final = "images.lock.json"
_IDENTITY: Final = 8
_WRITTEN: Final = "it is written beside bundles by `fimg save`"

#: ``sha256:…``; as all text of a lock it ends up in paths and scripts, so its grammar is narrow.
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=512)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=255)]
#: As of Docker's reference grammar.
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=128)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class LockedFile(_Model):
    """A file beside the lock; ``size`` in bytes."""

    name: Word
    size: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LockedLayer(_Model):
    """A layer's tar and its gzip, sizes in bytes; ``included``: its gzip is in the bundle."""

    size: int
    packed_size: int
    packed_digest: Digest
    included: bool


class LockedImage(_Model):
    """``id`` is the digest of its configuration.

    ``digest`` is the one a registry has it by: of ours once they are pushed, of others' where they came from.
    ``commit`` is the source it was first built from, ``fingerprint`` what of.
    """

    reference: Reference
    id: Digest
    layers: tuple[Digest, ...]
    digest: Digest | None = None
    fingerprint: Word | None = None
    commit: Word | None = None


class Source(_Model):
    """A repository's commit; ``dirty``: what was built differs from it."""

    ref: str
    commit: Word
    dirty: bool


class LockedBundle(_Model):
    """One archive: its file, or its parts of ``part_size`` bytes, and what is in it. ``layers`` by diff id.

    ``sources``: what its images were built from; ``left_out``: images the platform can't have, with the reason.
    ``needs``: by image of another bundle, the layers (lowest first) that it has and this one leaves out.
    ``singles``: images that have an archive of their own beside it, by reference.
    """

    sources: dict[str, Source] = {}
    left_out: dict[str, str] = {}
    files: tuple[LockedFile, ...]
    singles: dict[Reference, LockedFile] = {}
    part_size: int | None = None
    images: tuple[LockedImage, ...]
    layers: dict[Digest, LockedLayer]
    needs: dict[Reference, tuple[Digest, ...]] = {}

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def all_files(self) -> tuple[LockedFile, ...]:
        return (*self.files, *self.singles.values())


class Lock(_Model):
    """``since``: the tag whose images the bundles stand on, when they leave out what it has; ``base`` tells which."""

    format: Literal[1] = 1
    tag: Tag
    platform: Platform
    since: Tag | None = None
    base: Word | None = None
    bundles: dict[Word, LockedBundle]

    @property
    def images(self) -> Iterator[LockedImage]:
        for bundle in self.bundles.values():
            yield from bundle.images

    def text(self) -> str:
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"


def identity(lock: Lock) -> str:
    """Tells the images of a lock from others of the same tag."""
    images = sorted((image.reference, image.id) for image in lock.images)
    return hashlib.sha256(json.dumps(images).encode()).hexdigest()[:_IDENTITY]


def read(path: Path) -> Lock:
    """The lock in ``path``; :class:`ShipError` when it is none."""
    try:
        return Lock.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ShipError(f"{path} can't be read: {error.strerror}", hint=_WRITTEN) from None
    except ValidationError as error:
        raise ShipError(
            f"{path} is no {NAME}: {first_problem(error)}",
            hint=_WRITTEN,
        ) from None


Chain = tuple[str, ...]


def chains(layers: Iterable[str]) -> Iterator[Chain]:
    """A layer with all below it, lowest first, for each of an image's: as such engines know layers."""
    found: Chain = ()
    for layer in layers:
        found = (*found, layer)
        yield found


def leave_out(images: Iterable[Iterable[str]], base: Mapping[Chain, str]) -> frozenset[str]:
    """The layers that every one of ``images`` (their layers) finds on an engine with the chains of ``base``."""
    spared: set[str] = set()
    needed: set[str] = set()
    for layers in images:
        for chain in chains(layers):
            (spared if chain in base else needed).add(chain[-1])
    return frozenset(spared - needed)


def base_chains(lock: Lock) -> dict[Chain, str]:
    """The chains an engine has that loaded what ``lock`` is of, each with the first image that has it."""
    found: dict[Chain, str] = {}
    for image in lock.images:
        for chain in chains(image.layers):
            found.setdefault(chain, image.reference)
    return found


def needs(
    images: Iterable[Iterable[str]], left_out: Collection[str], base: Mapping[Chain, str]
) -> dict[str, tuple[str, ...]]:
    """What ``images`` (their layers) count on: for each image of the base the longest chain it gives."""
    found: dict[str, Chain] = {}
    for layers in images:
        for chain in chains(layers):
            if chain[-1] in left_out and len(chain) > len(found.get(base[chain], ())):
                found[base[chain]] = chain
    return found
