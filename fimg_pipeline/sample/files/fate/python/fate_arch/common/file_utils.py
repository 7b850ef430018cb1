"""Where the project lies."""

import os
from pathlib import Path

PROJECT_BASE = "FATE_PROJECT_BASE"


def get_project_base_directory() -> Path:
    """The folder that holds ``fate.env`` and ``conf``: the environment says so, else it is looked for upwards."""
    configured = os.environ.get(PROJECT_BASE)
    if configured:
        return Path(configured)
    for folder in Path(__file__).resolve().parents:
        if (folder / "fate.env").is_file():
            return folder
    raise RuntimeError(f"no fate.env above {__file__}: set {PROJECT_BASE}")
