"""The versions of ``fate.env``."""

from pathlib import Path
from typing import Dict, Optional

from fate_arch.common.file_utils import get_project_base_directory


def get_versions(path: Optional[Path] = None) -> Dict[str, str]:
    """Reads the ``NAME=value`` lines of ``fate.env``."""
    text = (path or get_project_base_directory() / "fate.env").read_text(encoding="utf-8")
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}
