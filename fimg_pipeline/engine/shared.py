"""What several engines share: everything built, by fingerprint, in a registry that they all reach.

Engines push and pull themselves: they have the layers, and may be on other machines than this process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker.errors
import requests.exceptions

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.engine.client import LABEL_FINGERPRINT, LABEL_PLATFORM, Engine
from fimg_pipeline.engine.hub import PullFailure, digest_of, failure, pull, registry_of, watched
from fimg_pipeline.errors import FimgError, TransientError
from fimg_pipeline.plan.model import Planned
from fimg_pipeline.settings import Settings
from fimg_pipeline.state import write_whole

#: Layers go out one after the other, and say so; a registry that takes none for that long is none.
_SILENCE_SECONDS: Final = 60.0


class SharedError(FimgError):
    """The shared registry does not take or give what was built."""


class SharedUnreachableError(SharedError, TransientError):
    """It does not answer."""


@dataclass(frozen=True)
class Shared:
    """What ``engine`` shares with others below ``prefix`` (``registry.example/fate-build``).

    Which digest something was pushed by is kept in the state folder: whatever somebody puts in its place there is not
    taken for it.
    """

    engine: Engine
    settings: Settings
    prefix: str

    def get(self, planned: Planned, log: Callable[[str], None]) -> str | None:
        """Brings ``planned`` to the engine from the registry, by its digest: the image's id; ``None``: it has none."""
        place = self._place(planned)
        known = self._known(planned)
        reference = f"{place.rpartition(':')[0]}@{known['digest']}" if known else place
        found = pull(self.engine, reference, planned.platform, log, login=self._login)
        if isinstance(found, PullFailure):
            if not found.answered:
                raise self._unreachable(found)
            # One that denies what it lacks, as some do, denies pushing too where that is not why.
            log(f"{planned.name} is not in the shared registry: {found.of(place)}")
            return None
        pulled = f"{place.rpartition(':')[0]}@{found.digest}"
        try:
            labels = (self.engine.inspect(found.image_id) or {}).get("Config", {}).get("Labels") or {}
            if (labels.get(LABEL_FINGERPRINT), labels.get(LABEL_PLATFORM)) != (planned.fingerprint, planned.platform):
                raise SharedError(
                    f"{pulled} is another image than {planned.name} at {planned.fingerprint}",
                    hint=f"somebody wrote to {place}: remove that tag there",
                )
            self.engine.tag(found.image_id, planned.stage)
        finally:
            self.engine.remove(pulled)
        self._know(planned, found.image_id, found.digest)
        return found.image_id

    def put(self, planned: Planned, image_id: str, log: Callable[[str], None]) -> None:
        """Has the registry keep ``planned``, unless it has that very image."""
        place, known = self._place(planned), self._known(planned)
        if known.get("image_id") == image_id and known.get("digest") == self._digest(place):
            return
        log(f"pushing {planned.name} to {place}")
        repository, _, tag = place.rpartition(":")
        self.engine.tag(image_id, place)
        try:
            digest = watched(lambda beat: self._push(repository, tag, beat), _SILENCE_SECONDS)
        except docker.errors.APIError as error:
            raise self._refused(failure(str(error.explanation or error))) from None
        except (TimeoutError, requests.exceptions.RequestException):
            raise self._unreachable(PullFailure(False, "no answer in time")) from None
        finally:
            self.engine.remove(place)
        self._know(planned, image_id, digest)

    def _push(self, repository: str, tag: str, beat: Callable[[], None]) -> str:
        api: Any = self.engine.sdk.api
        digest = ""
        for event in api.push(repository, tag=tag, stream=True, decode=True, auth_config=self._login):
            if "error" in event:
                raise docker.errors.APIError(str(event["error"]))
            digest = (event.get("aux") or {}).get("Digest", digest)
            beat()
        return digest

    def _digest(self, place: str) -> str | None:
        found = digest_of(self.engine, place, login=self._login)
        if isinstance(found, PullFailure):
            if not found.answered:
                raise self._unreachable(found)
            return None
        return found

    def _place(self, planned: Planned) -> str:
        return f"{self.prefix}/{planned.stage.removeprefix(f'{LOCAL_NAMESPACE}/')}"

    @property
    def _login(self) -> dict[str, str] | None:
        """That of the settings, where it is the registry of PREFIX; else the engine's client looks for one itself."""
        same = registry_of(f"{self.prefix}/") == registry_of(f"{self.settings.prefix}/")
        if not same or self.settings.registry_user is None:
            return None
        return {"username": self.settings.registry_user, "password": self.settings.registry_password or ""}

    def _known(self, planned: Planned) -> Mapping[str, str]:
        """By which digest it was pushed to this registry or pulled from it, and of which image; empty: neither."""
        try:
            found: dict[str, str] = json.loads(self._notes(planned).read_text())
        except (OSError, ValueError):
            return {}
        return found if found.get("place") == self._place(planned) else {}

    def _know(self, planned: Planned, image_id: str, digest: str) -> None:
        note = {"place": self._place(planned), "digest": digest, "image_id": image_id}
        write_whole(self._notes(planned), json.dumps(note))

    def _notes(self, planned: Planned) -> Path:
        return self.settings.home / "shared" / planned.fingerprint

    def _unreachable(self, found: PullFailure) -> SharedError:
        where = found.of(f"the registry of SHARED_REGISTRY={self.prefix}")
        return SharedUnreachableError(
            f"{where}, says the engine at {self.engine.address}",
            hint="start it, or leave SHARED_REGISTRY unset to build everything on each engine",
        )

    def _refused(self, found: PullFailure) -> SharedError:
        if not found.answered:
            return self._unreachable(found)
        return SharedError(
            f"the registry of SHARED_REGISTRY={self.prefix} takes nothing ({found.reason}) from the engine at "
            f"{self.engine.address}",
            hint="docker login to it, or set REGISTRY_USER and REGISTRY_PASSWORD where it is the registry of PREFIX",
        )
