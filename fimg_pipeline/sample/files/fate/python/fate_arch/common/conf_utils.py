"""``conf/service_conf.yaml`` and the ``local.`` file beside it that overrides it."""

from typing import Any, Dict

import yaml

from fate_arch.common.file_utils import get_project_base_directory


def get_service_conf() -> Dict[str, Any]:
    """The service configuration; sections of the local file replace those of the shipped one."""
    folder = get_project_base_directory() / "conf"
    merged: Dict[str, Any] = {}
    for name in ("service_conf.yaml", "local.service_conf.yaml"):
        path = folder / name
        if path.is_file():
            merged.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return merged
