"""What is asked for: an image, on which deployment, by which template, under which name; and what that comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.kuscia import templates
from fimg_pipeline.kuscia.deployment import Deployment
from fimg_pipeline.kuscia.image import OWN_TEMPLATE, own_template
from fimg_pipeline.kuscia.manifest import TemplateError, app_image
from fimg_pipeline.kuscia.names import checked_name, generated_name
from fimg_pipeline.kuscia.reference import Reference
from fimg_pipeline.kuscia.registration import Registration, Wanted, find_nodes, register
from fimg_pipeline.kuscia.templates import Template
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.values.choices import line


@dataclass(frozen=True)
class Request:
    """``name``: empty, after the image. ``template``: ``None``, the one the image brings, or the general one.

    ``pin``: the AppImage names the image's id, and nodes refuse any other of that name. ``sign``: what Kuscia before
    0.6 asks for, which has to be something.
    """

    image: Reference
    deployment: Deployment
    name: str = ""
    template: Template | None = None
    pin: bool = False
    sign: str = ""

    @property
    def app_image(self) -> str:
        """The AppImage's name; :class:`~fimg_pipeline.kuscia.names.AppImageNameError`."""
        return checked_name(self.name) if self.name else generated_name(self.image)


def perform(
    request: Request,
    machine: Engine,
    store: LayerStore,
    image: Callable[[Platform], tuple[Engine, str]],
    say: Callable[[str], None],
) -> Registration:
    """Does what is asked for. ``machine``: the engine whose containers the nodes are; ``image``: the one that has the
    image, and what it calls it, for nodes of a platform.

    Nothing is sent before the nodes, the image, the template and what the API servers say of it are seen to be right.
    """
    name = request.app_image
    try:
        line(request.sign)
    except ValueError as error:
        raise TemplateError(f"sign {error}") from None
    nodes = find_nodes(machine, request.deployment)
    engine, engine_id = image(nodes.platform)
    template = request.template or _brought(engine, engine_id)
    say(f"template: {template.source}")
    try:
        document = app_image(template.text, name, request.image)
    except TemplateError as error:
        raise TemplateError(f"template {template.source}: {error.message}", hint=error.hint) from None
    if request.sign:
        document["spec"]["image"]["sign"] = request.sign
    return register(engine, store, nodes, Wanted(request.image, engine_id, document, request.pin), say)


def _brought(engine: Engine, engine_id: str) -> Template:
    own = own_template(engine, engine_id)
    return templates.shipped(templates.GENERAL) if own is None else Template(f"{OWN_TEMPLATE} of the image", own)
