"""Loading a bundle where nothing is: what an operator will do, done once before it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.second import second_engine, second_image
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship.bundle import Content, size_of, write
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.ship.lock import LockedBundle
from fimg_pipeline.ship.room import require_space
from fimg_pipeline.ship.saved import image_of
from fimg_pipeline.state import scratch

_BASE: Final = "base.tar"
#: What ``load.sh`` says of a bundle that leaves out what is not there.
_REFUSED: Final = "images leaves out what is on this engine once"


@dataclass(frozen=True)
class Trial:
    """How it went: ``passed`` is ``None`` when it could not be tried; ``output`` of ``load.sh``."""

    passed: bool | None
    summary: str
    output: str = ""


def load(
    engine: Engine,
    settings: Settings,
    folder: Path,
    name: str,
    bundle: LockedBundle,
    log: Callable[[str], None],
) -> Trial:
    """Has ``load.sh`` load bundle ``name`` of ``folder`` into an empty second engine, and compare the images' ids.

    A delta has to be refused there, and to be loaded once the engine has the layers it stands on.
    """
    refused = ""
    try:
        # `docker load` unpacks the archive, and then its layers from that.
        unpacked = sum(layer.size for layer in bundle.layers.values())
        require_space(engine.disk or settings.home, 2 * unpacked)
        image = second_image(engine, settings, log)
        with scratch(settings.home) as base:
            mounts = {folder: "/bundle", base: "/base"}
            if bundle.needs:
                _write_base(bundle, engine.platform, LayerStore(settings.home / "store"), base)
            with folders.unchanged(folder), second_engine(engine, image, mounts, settings.home) as second:
                status, output = second.run(["sh", "/bundle/load.sh", name])
                if bundle.needs and status == 1 and _REFUSED in output:
                    refused = "refused by an empty engine; with what it stands on: "
                    given, told = second.run(["docker", "load", "--quiet", "--input", f"/base/{_BASE}"])
                    if given != 0:
                        return Trial(None, f"it could not be tried: its base can't be loaded: {told.strip()}")
                    status, output = second.run(["sh", "/bundle/load.sh", name])
                now = folders.current(folder)
    except FimgError as error:
        return Trial(None, f"it could not be tried: {error.message}")
    log(output.rstrip())
    if now is None or now.bundles.get(name) != bundle:
        return Trial(None, "it could not be tried: another run replaced it meanwhile", output)
    if bundle.needs and not refused:
        return Trial(False, "not refused by an empty engine, which lacks what it stands on", output)
    lines = (output.strip() or "it said nothing").splitlines()
    # What the engine said of it stands before what load.sh makes of that.
    return Trial(status == 0, refused + "; ".join(lines[-1:] if status == 0 else lines[-2:]), output)


def _write_base(bundle: LockedBundle, platform: Platform, store: LayerStore, folder: Path) -> None:
    """What a delta stands on: an image for each of the chains of layers that it needs, and nothing else."""
    images = {}
    for number, chain in enumerate(bundle.needs.values()):
        layers = {"type": "layers", "diff_ids": chain}
        config = {"architecture": platform, "os": "linux", "config": {}, "rootfs": layers}
        images[f"fimg-base.invalid/base:{number}"] = image_of(json.dumps(config).encode())
    content = Content(images)
    require_space(folder, size_of(content, store))
    write(content, store, folder, _BASE, compressed=False)
