"""The image that is registered: on the engine or from its registry, for the nodes' platform; the template it brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fimg_pipeline.catalog.platforms import Platform, docker_platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.hub import PullFailure, is_of_docker_hub, mirrored, pull, registry_of
from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.manifest import TemplateError
from fimg_pipeline.kuscia.reference import Reference
from fimg_pipeline.kuscia.templates import LARGEST
from fimg_pipeline.settings import Settings

#: Where images have their own template, by Kuscia's convention.
OWN_TEMPLATE: Final = "/kuscia/app_image.yaml"


class ImageError(FimgError):
    """The image can't be registered as it is."""


def engine_image(
    image: Reference, platform: Platform, settings: Settings, engine: Engine, say: Callable[[str], None]
) -> str:
    """What the engine calls ``image``, which is pulled if it is not there; :class:`ImageError` if it is of another
    platform than the nodes.
    """
    name = image.on_engine
    there = engine.inspect(name)
    if image.digest is not None and not (there is not None and _has_digest(there, image.digest)):
        # Pulled by its digest it may have no tag.
        there = engine.inspect(f"{name.rpartition(':')[0]}@{image.digest}")
    if there is not None:
        built = f"{there['Os']}/{there['Architecture']}"
        if built != docker_platform(platform):
            raise ImageError(
                f"{name} is an image for {built}, and the nodes are {docker_platform(platform)}",
                hint="nothing was sent; register the image of that platform",
            )
        return str(there["Id"])
    place = mirrored(name, settings.docker_hub_mirror) if is_of_docker_hub(name) else name
    found = pull(engine, f"{place.rpartition(':')[0]}@{image.digest}" if image.digest else place, platform, say)
    if isinstance(found, PullFailure):
        raise ImageError(
            f"{name} is not on the engine, and can't be pulled: {found.of(registry_of(place))}",
            hint="pull or build it there"
            + (", or set DOCKER_HUB_MIRROR to a registry that has it" if is_of_docker_hub(name) else ""),
        )
    if engine.inspect(name) is None:
        # As docker pull would: the next time it is there.
        engine.tag(found.image_id, name)
    return found.image_id


def own_template(engine: Engine, image_id: str) -> str | None:
    """The template that an image brings, or ``None``; :class:`TemplateError` when it is no text."""
    content = engine.read_file(image_id, OWN_TEMPLATE, LARGEST)
    try:
        return None if content is None else content.decode("utf-8")
    except UnicodeDecodeError:
        raise TemplateError(f"{OWN_TEMPLATE} of the image is no text in UTF-8") from None


def _has_digest(record: dict[str, object], digest: str) -> bool:
    known = record.get("RepoDigests")
    return isinstance(known, list) and any(str(each).endswith(f"@{digest}") for each in known)
