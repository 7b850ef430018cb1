"""Stand-ins, made from Debian's packages, for images that only Docker Hub has."""

from __future__ import annotations

from pathlib import Path

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.dockerfiles import ROOT
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.context import file_from_disk, tar_stream
from fimg_pipeline.engine.secrets import secret_files
from fimg_pipeline.settings import load
from fimg_pipeline.state import scratch


def standin(engine: Engine, name: str, reference: str) -> str:
    """Builds the stand-in ``name`` (a folder beside this file) as ``reference``, with the mirrors of the settings."""
    folder = Path(__file__).parent / name
    files = [file_from_disk(file.name, file) for file in sorted(folder.iterdir())]
    files.append(file_from_disk("lib/build.sh", ROOT / "lib" / "build.sh"))
    settings = load()
    with scratch(settings.home) as own:
        engine.build(
            tar_stream(files),
            dockerfile="Dockerfile",
            tag=reference,
            platform=f"linux/{engine.platform}",
            build_args={"BASE": BASES["debian"].local_reference(engine.platform)},
            labels={},
            secrets=secret_files(own, settings.ca_bundle, settings.network_variables),
            options=(),
            id_file=own / "id",
            log=lambda _line: None,
        )
    return reference
