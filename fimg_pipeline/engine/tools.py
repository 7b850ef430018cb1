"""Images that the pipeline runs for its own ends: not part of any plan, built anew from the engine's cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.catalog.platforms import Platform, docker_platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.context import ContextFile, tar_stream
from fimg_pipeline.engine.secrets import secret_files
from fimg_pipeline.settings import Settings
from fimg_pipeline.state import scratch


def build_tool(
    name: str,
    files: Sequence[ContextFile],
    platform: Platform,
    engine: Engine,
    settings: Settings,
    arguments: Mapping[str, str],
    log: Callable[[str], None],
) -> str:
    """Builds ``files`` and returns the image's id. ``name`` (``emulation/qemu``) is its own below our namespace.

    One without ``arguments`` stands on nothing and needs no network: it gets no secrets.
    """
    with scratch(settings.home) as folder:
        return engine.build(
            tar_stream(files),
            dockerfile="Dockerfile",
            tag=f"{LOCAL_NAMESPACE}/{name}:{platform}",
            platform=docker_platform(platform),
            build_args=arguments,
            labels={},
            secrets=secret_files(folder, settings.ca_bundle, settings.network_variables) if arguments else {},
            options=settings.docker_options,
            id_file=folder / "id",
            log=log,
        )
