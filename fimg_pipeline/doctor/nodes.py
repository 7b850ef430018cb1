"""Kuscia's nodes that KUSCIA_APP_IMAGES names: whether their containers are there and can take images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from fimg_pipeline.doctor.findings import Finding, Verdict, told, wrong
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia import configured
from fimg_pipeline.kuscia.deployment import Deployment
from fimg_pipeline.kuscia.registration import find_nodes
from fimg_pipeline.settings import Settings


def nodes(settings: Settings) -> Iterator[Finding]:
    """Of every deployment once."""
    if settings.kuscia_app_images is None:
        return
    try:
        wanted = configured.read(settings.kuscia_app_images)
    except FimgError as error:
        yield wrong("Kuscia", error)
        return
    yield Finding("Kuscia", Verdict.OK, f"{len(wanted)} AppImages in {settings.kuscia_app_images}")
    seen: list[Deployment] = []
    for each in wanted:
        if each.deployment not in seen:
            seen.append(each.deployment)
            yield from told(f"Kuscia of {each.user}", partial(_told, each.deployment))


def _told(deployment: Deployment) -> str:
    found = find_nodes(Engine(), deployment)
    names = dict.fromkeys((*deployment.image_nodes, *deployment.api_nodes))
    return f"{', '.join(names)}: running, {found.platform}"
