"""Images of a few bytes, and places in a registry to publish them to."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from fimg_pipeline.ship import registry as client
from fimg_pipeline.ship.destination import Destination
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.ship.push import Publication, publication
from fimg_pipeline.ship.saved import read_saved
from fimg_pipeline_tests.ship.archives import Image, layer, saved_by_old_engine


def noise(size: int) -> bytes:
    """A layer that does not shrink, and that no registry has."""
    content = bytearray(layer("x", size))
    content[512 : 512 + size] = os.urandom(size)
    return bytes(content)


def publications(folder: Path, count: int = 3, architecture: str = "amd64", size: int = 50_000) -> list[Publication]:
    """Images with one layer in common and one of their own."""
    base = noise(size)
    images = [Image((base, noise(1000)), f"image {number}", architecture) for number in range(count)]
    store = LayerStore(folder)
    saved = read_saved(io.BytesIO(saved_by_old_engine(images)), store, lambda _: None)
    return [publication(f"image-{number}", image, store) for number, image in enumerate(saved)]


def place(host: str, said: list[str] | None = None, **how: Any) -> Destination:
    """A namespace of its own in the registry at ``host``."""
    scheme = "https" if "verify" in how else "http"
    registry = client.Registry(
        host,
        f"{scheme}://{host}",
        how.get("login"),
        how.get("verify", True),
        (said if said is not None else []).append,
    )
    return Destination(registry, f"run-{os.urandom(6).hex()}")
