"""Loading a bundle where nothing is: what an operator will do, done once before it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.second import second_engine, second_image
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship.lock import LockedBundle
from fimg_pipeline.ship.save import require_space


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

    An empty engine has not what a delta stands on: there it has to be refused before it is loaded.
    """
    try:
        require_space(settings.home, sum(layer.size for layer in bundle.layers.values() if layer.included))
        image = second_image(engine, settings, log)
        with second_engine(engine, image, {folder: "/bundle"}, settings.home) as second:
            status, output = second.run(["sh", "/bundle/load.sh", name])
    except FimgError as error:
        return Trial(None, f"it could not be tried: {error.message}")
    log(output.rstrip())
    now = folders.current(folder)
    if now is None or now.bundles.get(name) != bundle:
        return Trial(None, "it could not be tried: another run replaced it meanwhile", output)
    if bundle.needs:
        refused = status == 1 and f"once {now.since} is loaded" in output
        return Trial(
            refused, f"{'' if refused else 'not '}refused by an empty engine: it stands on {now.since}", output
        )
    last = (output.strip() or "it said nothing").splitlines()[-1]
    return Trial(status == 0, last, output)
