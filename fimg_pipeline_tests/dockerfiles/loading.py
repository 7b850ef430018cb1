"""Loads the scripts that live in images and are no modules of the project."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from fimg_pipeline.dockerfiles import ROOT


def load(path: str) -> ModuleType:
    """The script at ``path`` below ``dockerfiles/`` as a module."""
    name = "fimg_recipe_" + path.replace("/", "_").replace("-", "_").removesuffix(".py")
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[name] = module
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module
