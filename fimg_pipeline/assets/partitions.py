"""Partitions: platform × tag. Tags are dynamic; a key is checked before it is added, since Dagster hardly does."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import dagster as dg

from fimg_pipeline.catalog.platforms import PLATFORMS
from fimg_pipeline.errors import FimgError
from fimg_pipeline.values.names import tag_problem

TAG_PARTITIONS: Final = "tag"

PLATFORM_PARTITIONS: Final = dg.StaticPartitionsDefinition(list(PLATFORMS))
#: Of what is made once for a tag, from all platforms.
TAGS: Final = dg.DynamicPartitionsDefinition(name=TAG_PARTITIONS)
MATRIX: Final = dg.MultiPartitionsDefinition({"platform": PLATFORM_PARTITIONS, "tag": TAGS})


def partition_key(platform: str, tag: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"platform": platform, "tag": tag})


def add_tag(instance: dg.DagsterInstance, tag: str) -> None:
    """Makes ``tag`` a partition, if it is not one; :class:`FimgError` when Docker would not accept it as a tag."""
    problem = tag_problem(tag)
    if problem:
        raise FimgError(f"{tag!r} can't be a partition: {problem}")
    # A quarter of a second that loading the definitions can do without.
    from sqlalchemy.exc import IntegrityError

    if not instance.has_dynamic_partition(TAG_PARTITIONS, tag):
        # Somebody else may add it in this moment.
        with suppress(IntegrityError):
            instance.add_dynamic_partitions(TAG_PARTITIONS, [tag])


def remove_tag(instance: dg.DagsterInstance, tag: str) -> bool:
    """Whether ``tag`` was a partition, which it is no more; what was materialized for it stays on record."""
    if not instance.has_dynamic_partition(TAG_PARTITIONS, tag):
        return False
    instance.delete_dynamic_partition(TAG_PARTITIONS, tag)
    return True


def known_tags(instance: dg.DagsterInstance) -> list[str]:
    """The tags that are partitions, in the order they came."""
    return list(instance.get_dynamic_partitions(TAG_PARTITIONS))
