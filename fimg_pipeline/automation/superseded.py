"""What is superseded: images, tags and runs that nobody needs any more. Pure.

Kept is what is on record as the last of anything for a tag that people want, with some of what came before it. A tag is
wanted when it is the configured one, was added by ``fimg tag add``, or had something built under it lately.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.plan.model import StoredImage
from fimg_pipeline.source.tags import ref_by_name


@dataclass(frozen=True)
class Made:
    """A materialization: of an asset (its key as text) for a partition, in a run; ``at`` in seconds since 1970.

    ``names``: those people know it by, if it is an ``image`` (its id), and ``built``: it was not found but built;
    ``carries``: fingerprints of the images that were pushed; ``folder``: where a bundle was written.
    """

    asset: str
    partition: str
    run: str
    at: float
    fingerprint: str = ""
    names: frozenset[str] = frozenset()
    carries: frozenset[str] = frozenset()
    built: bool = True
    folder: str = ""
    image: str = ""

    @property
    def tag(self) -> str:
        return self.partition.rpartition("|")[2]


@dataclass(frozen=True)
class History:
    """All materializations, the latest first."""

    made: Sequence[Made]

    def tags_before(self, moment: float, tags: Iterable[str], wanted: Collection[str]) -> list[str]:
        """Of ``tags``, and those on record, all that are not ``wanted`` and under which nothing was made since.

        Releases are wanted for as long as they are among ``tags``.
        """
        wanted = {*wanted, *(tag for tag in tags if ref_by_name(tag) is not None)}
        lately = {each.tag for each in self.made if each.at >= moment}
        known = dict.fromkeys((*tags, *(each.tag for each in self.made if each.tag)))
        return [tag for tag in known if tag not in wanted and tag not in lately]

    def last(self, count: int, *, without: Collection[str] = ()) -> list[Made]:
        """Of every asset and partition the last ``count`` that differ, but for those of the tags ``without``.

        Of what records no fingerprint all are taken to differ.
        """
        found: dict[tuple[str, str], list[Made]] = {}
        for each in self.made:
            if each.tag in without:
                continue
            known = found.setdefault((each.asset, each.partition), [])
            same = each.fingerprint and any(each.fingerprint == other.fingerprint for other in known)
            if not same and len(known) < count:
                known.append(each)
        return [each for known in found.values() for each in known]


def superseded_images(
    images: Iterable[StoredImage],
    known: Collection[str],
    built: Collection[str],
    kept: Collection[str],
    names: Collection[str],
    ids: Collection[str],
) -> Iterator[tuple[str, str]]:
    """Names to take off images of the engine, and why: those by which the pipeline alone knows what is superseded.

    Only of fingerprints that are ``known``, on record here, and those ``built`` here: others on the same engine made
    theirs. What has lost the pipeline's own name is known by ``ids``. Those ``kept`` stay, and so does what has a name
    that is not among ``names``, which go too: somebody gave it one.
    """
    for image in images:
        own = image.own_names
        # What somebody built on one of ours has its labels, and perhaps its name.
        if image.fingerprint not in known or not (own or image.image_id in ids):
            continue
        theirs = image.references - own
        going = theirs & set(names)
        yield from ((name, "its tag is gone") for name in sorted(going))
        if own and image.fingerprint in built and image.fingerprint not in kept and theirs == going:
            yield from ((name, "superseded") for name in sorted(own))


def superseded_bases(images: Iterable[StoredImage], local_names: Collection[str]) -> Iterator[str]:
    """Further names (by digest) of external bases that are not the ones builds stand on any more."""
    for image in images:
        own = [name for name in image.references if name.startswith(f"{LOCAL_NAMESPACE}/base/")]
        if own and not set(own) & set(local_names):
            yield from sorted(name for name in own if "-sha256-" in name)


def old_runs(ended: Mapping[str, float], kept: Collection[str], before: float) -> list[str]:
    """Runs (id → when it ended) that ended ``before`` and are not ``kept``."""
    return [run for run, at in ended.items() if at < before and run not in kept]
