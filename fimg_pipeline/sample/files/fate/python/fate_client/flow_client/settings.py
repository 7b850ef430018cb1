"""A client's settings file: the address of the FATE Flow server."""

from pathlib import Path
from typing import Any, Dict

import yaml


def load(path: Path) -> Dict[str, Any]:
    """What was configured; empty before the first ``init``."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def save(path: Path, ip: str, port: int) -> None:
    """Remembers the server's address."""
    path.write_text(yaml.safe_dump({"api_version": "v1", "ip": ip, "port": port}), encoding="utf-8")
