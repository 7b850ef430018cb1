"""Making what a plan says: reuse by fingerprint, build otherwise, name last."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.platforms import Platform, docker_platform
from fimg_pipeline.catalog.recipes import RECIPES
from fimg_pipeline.dockerfiles import recipe_files
from fimg_pipeline.engine.bases import ensure_base
from fimg_pipeline.engine.client import LABEL_ADAPTATIONS, LABEL_FINGERPRINT, LABEL_INPUTS, LABEL_PLATFORM, Engine
from fimg_pipeline.engine.context import ContextFile, file_from_disk, tar_stream
from fimg_pipeline.engine.emulation import ensure_emulation
from fimg_pipeline.engine.fitness import require_fit
from fimg_pipeline.engine.secrets import secret_files
from fimg_pipeline.engine.shared import Shared
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.model import Planned, PlannedImage
from fimg_pipeline.plan.planner import REFRESHED
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.model import RepositorySnapshot
from fimg_pipeline.state import locked, scratch


class MissingInputError(FimgError):
    """Something an image is built from is not on the engine."""


@dataclass(frozen=True)
class Outcome:
    """What became of one package or image: ``built`` is false when an equal one was there. ``seconds`` of wall time."""

    image_id: str
    built: bool
    seconds: float


@dataclass(frozen=True)
class Builder:
    """Builds on ``engine``; ``settings`` give mirrors, the extra CA and the user's build options."""

    engine: Engine
    settings: Settings

    def make(
        self,
        planned: Planned,
        origin: RepositorySnapshot,
        version: str,
        files: Iterable[ContextFile],
        log: Callable[[str], None],
    ) -> Outcome:
        """Makes ``planned`` unless the engine has it. An image gets its names later, by :meth:`name`.

        ``files`` are added to the recipe's own and read only when something is built. ``origin`` and ``version`` go
        into the labels. Two runs that want the same fingerprint at once build it once.
        """
        started = time.monotonic()
        with locked(self.settings.home / "locks" / planned.fingerprint):
            anew = self.settings.no_cache and isinstance(planned, PlannedImage)
            image_id = None if anew else self._existing(planned) or self._shared_with_others(planned, log)
            built = image_id is None
            if image_id is None:
                require_fit(self.engine)
                self._check_inputs(planned)
                image_id = self._build(planned, origin, version, files, log)
            else:
                log(f"{planned.name}: {planned.stage} has this fingerprint, nothing to build")
        return Outcome(image_id, built, time.monotonic() - started)

    def name(self, planned: PlannedImage, image_id: str) -> None:
        """Gives an image that passed its checks the names people know."""
        for name in planned.names:
            self.engine.tag(image_id, name)

    def share(self, planned: Planned, image_id: str, log: Callable[[str], None]) -> None:
        """Has other engines find what is finished, where there is a registry for that (``SHARED_REGISTRY``)."""
        if self.settings.shared_registry is not None:
            with locked(self.settings.home / "locks" / planned.fingerprint):
                Shared(self.engine, self.settings, self.settings.shared_registry).put(planned, image_id, log)

    def discard(self, planned: PlannedImage) -> None:
        """Forgets an image that failed a check: no later run may take it for finished. Its layers stay cached."""
        self.engine.remove(planned.stage)

    def _existing(self, planned: Planned) -> str | None:
        record = self.engine.inspect(planned.stage)
        if record is None:
            return None
        labels = record["Config"].get("Labels") or {}
        wanted = docker_platform(planned.platform)
        if labels.get(LABEL_FINGERPRINT) != planned.fingerprint or f"{record['Os']}/{record['Architecture']}" != wanted:
            return None
        return str(record["Id"])

    def _shared_with_others(self, planned: Planned, log: Callable[[str], None]) -> str | None:
        if self.settings.shared_registry is None:
            return None
        return Shared(self.engine, self.settings, self.settings.shared_registry).get(planned, log)

    def _check_inputs(self, planned: Planned) -> None:
        """The names a recipe gets must stand for exactly what the fingerprint was made of."""
        wrong = [
            problem
            for name, value in planned.build_args.items()
            if (problem := self._input_problem(planned, name, value))
        ]
        if wrong:
            raise MissingInputError(
                f"{planned.name} can't be built: {', '.join(wrong)}",
                hint="materialize what is upstream of it too (`fimg build --image` does so); base images: `fimg bases`",
            )

    def _input_problem(self, planned: Planned, name: str, value: str) -> str | None:
        if not name.startswith(("PARENT", "PACKAGE_", "BASE_")):
            return None
        record = self.engine.inspect(value)
        if record is None:
            return f"{_spoken(name, value)} for {planned.platform} is not there"
        if name.startswith("BASE_"):
            base = next(base for base in BASES.values() if base.build_arg == name)
            same = planned.inputs[f"base {base.reference}"] == record["Id"]
        else:
            same = (record["Config"].get("Labels") or {}).get(LABEL_FINGERPRINT) == value.rpartition(":")[2]
        return None if same else f"{_spoken(name, value)} is another image than the plan was made with"

    def _build(
        self,
        planned: Planned,
        origin: RepositorySnapshot,
        version: str,
        files: Iterable[ContextFile],
        log: Callable[[str], None],
    ) -> str:
        self._make_runnable(planned.platform, log)
        recipe = (file_from_disk(name, file) for name, file in recipe_files(planned.recipe).items())
        labels = {
            "org.opencontainers.image.title": planned.name,
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.revision": origin.commit + ("-dirty" if origin.dirty else ""),
            **({"org.opencontainers.image.source": origin.location} if origin.location else {}),
            LABEL_FINGERPRINT: planned.fingerprint,
            LABEL_PLATFORM: planned.platform,
            LABEL_INPUTS: json.dumps(planned.inputs, sort_keys=True, separators=(",", ":")),
            **self._base_labels(planned),
            **self._adaptation_labels(planned),
        }
        wanted = recipe_files(planned.recipe)["Dockerfile"].read_text(encoding="utf-8")
        with scratch(self.settings.home) as folder:
            available = secret_files(folder, self.settings.ca_bundle, self.settings.network_variables)
            # A recipe that asks for none gets none, whatever a source may smuggle into its context.
            secrets = {name: path for name, path in available.items() if f"type=secret,id={name}" in wanted}
            return self.engine.build(
                _context(recipe, files),
                dockerfile="Dockerfile",
                tag=planned.stage,
                platform=docker_platform(planned.platform),
                build_args=planned.build_args,
                labels=labels,
                secrets=secrets,
                options=(*self.settings.docker_options, *(["--no-cache"] if self._is_refreshed(planned) else [])),
                id_file=folder / "id",
                log=log,
            )

    def _is_refreshed(self, planned: Planned) -> bool:
        """Whether this is the first of its name since its tag is refreshed; later ones may use what this one leaves."""
        since = planned.inputs.get(REFRESHED)
        repository = planned.stage.rpartition(":")[0]
        return since is not None and not any(
            image.platform == planned.platform
            and image.inputs.get(REFRESHED) == since
            and any(name.startswith(f"{repository}:") for name in image.references)
            for image in self.engine.state().images
        )

    def _make_runnable(self, platform: Platform, log: Callable[[str], None]) -> None:
        def debian() -> str:
            return ensure_base(BASES["debian"], self.engine.platform, self.settings, self.engine, log=log).local

        ensure_emulation(platform, self.engine, self.settings, debian=debian, log=log)

    def _adaptation_labels(self, planned: Planned) -> dict[str, str]:
        """What is changed in FATE's requirements, in the parents' too: all of it is in the image's environment."""
        if not isinstance(planned, PlannedImage):
            return {}
        parent = self.engine.inspect(planned.build_args["PARENT"]) if "PARENT" in planned.build_args else None
        labels = (parent or {}).get("Config", {}).get("Labels") or {}
        changes = dict.fromkeys((*json.loads(labels.get(LABEL_ADAPTATIONS, "[]")), *planned.adaptations))
        return {LABEL_ADAPTATIONS: json.dumps(list(changes))} if changes else {}

    def _base_labels(self, planned: Planned) -> dict[str, str]:
        """Name and digest of what the image stands on: its parent here, or the external base."""
        parent = planned.build_args.get("PARENT")
        final = [BASES[name] for name in RECIPES[planned.recipe].bases if not BASES[name].build_only]
        if parent is None and not final:
            return {}
        local = parent or final[0].local_reference(planned.platform)
        record = self.engine.inspect(local)
        digests = [d.partition("@")[2] for d in (record or {}).get("RepoDigests") or ()]
        return {
            "org.opencontainers.image.base.name": parent or final[0].reference,
            "org.opencontainers.image.base.digest": (digests or [str((record or {}).get("Id", ""))])[0],
        }


def _context(recipe: Iterable[ContextFile], files: Iterable[ContextFile]) -> Iterator[bytes]:
    def entries() -> Iterator[ContextFile]:
        yield from recipe
        yield from files

    return tar_stream(entries())


def _spoken(build_arg: str, reference: str) -> str:
    """What people call an input of a recipe."""
    if build_arg.startswith("BASE_"):
        return f"the base image {reference}"
    kind, name = reference.rpartition(":")[0].split("/")[-2:]
    return name if kind == "image" else f"{kind} {name}"
