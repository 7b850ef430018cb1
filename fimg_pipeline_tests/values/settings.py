"""Settings as an environment alone gives them."""

from __future__ import annotations

from pathlib import Path

from fimg_pipeline.settings import Settings, load


def settings(tmp_path: Path, **environ: str) -> Settings:
    return load(environ=environ, directory=tmp_path)
