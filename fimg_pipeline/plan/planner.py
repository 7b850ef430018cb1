"""The planner: one pure function from what is wanted and what there is to a :class:`~fimg_pipeline.plan.model.Plan`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fimg_pipeline.catalog.bases import BASES, LOCAL_NAMESPACE, PYTHON_SERIES, pulled_name
from fimg_pipeline.catalog.images import IMAGES, Image, unbuildable_reason
from fimg_pipeline.catalog.packages import PACKAGES, Package
from fimg_pipeline.catalog.platforms import MACHINES, Platform
from fimg_pipeline.catalog.recipes import LEFT_OUT, RECIPES, VARIANTS, Recipe, Variant
from fimg_pipeline.dockerfiles.lib.requirements import Target, adapt, compiled, name_of
from fimg_pipeline.errors import FimgError
from fimg_pipeline.freshness import AS_IT_IS, Freshness
from fimg_pipeline.plan.fingerprint import changed_inputs, fingerprint
from fimg_pipeline.plan.model import EngineState, Plan, PlannedImage, PlannedPackage, Status, StoredImage
from fimg_pipeline.plan.selection import Selected, Verb, require_buildable, select, selection_warnings
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.model import SourceSnapshot
from fimg_pipeline.values.build_options import NEUTRAL_OPTIONS, PROXY_VARIABLES

#: The input that says since when an image is to be built without a cache.
REFRESHED: Final = "refreshed"
#: What stands for a base image's id as long as the engine does not have the base.
ABSENT_BASE = "absent"


def needed_packages(selection: Sequence[Selected], platform: Platform) -> tuple[str, ...]:
    """The packages that the buildable images of ``selection`` take in, in catalog order."""
    used = {
        package
        for selected in selection
        if unbuildable_reason(selected.name, platform) is None
        for package in IMAGES[selected.name].recipe.packages
    }
    return tuple(name for name in PACKAGES if name in used)


def make_plan(
    settings: Settings,
    source: SourceSnapshot,
    engine: EngineState,
    recipe_digest: Callable[[str], str],
    *,
    verb: Verb = Verb.ALL,
    names: Sequence[str] = (),
    freshness: Freshness = AS_IT_IS,
) -> Plan:
    """Plans ``verb`` (or the images ``names``) for ``settings.platform`` and ``settings.tag``.

    ``recipe_digest`` gives the digest of a recipe's files, ``freshness`` says how new what comes from outside has to
    be. Images a platform can't build are in the plan with the reason; asking for one by name raises
    :class:`UnbuildableError`.
    """
    selection = select(settings.features, verb, names)
    require_buildable(names, settings.platform)
    planner = _Planner(settings, source, engine, recipe_digest, freshness)
    packages = {name: planner.package(PACKAGES[name]) for name in needed_packages(selection, settings.platform)}
    images: dict[str, PlannedImage] = {}
    for selected in selection:
        images[selected.name] = planner.image(selected, images, packages)
    blocked = [image for image in images.values() if image.status is Status.UNBUILDABLE]
    published = (
        ()
        if verb is Verb.PACKAGE and not names
        else tuple(
            image.name
            for image in images.values()
            if image.image.published and not image.added and image.status is not Status.UNBUILDABLE
        )
    )
    return Plan(
        tag=settings.tag,
        base_tag=settings.base_tag,
        platform=settings.platform,
        prefix=settings.prefix,
        source=source,
        packages=tuple(packages.values()),
        images=() if verb is Verb.PACKAGE and not names else tuple(images.values()),
        push=published,
        bundle=published,
        newer_bases=planner.newer_bases(),
        warnings=(
            *settings.warnings,
            *([] if names else selection_warnings(settings.features)),
            *_date_warnings(source),
            *planner.requirement_warnings(images.values()),
            *_content_warnings(packages),
            *_base_warnings(settings, images.values()),
            *_blocked_warnings(blocked, settings.platform),
        ),
    )


def plan_package(
    settings: Settings,
    source: SourceSnapshot,
    engine: EngineState,
    recipe_digest: Callable[[str], str],
    name: str,
    *,
    freshness: Freshness = AS_IT_IS,
) -> PlannedPackage:
    """The package ``name`` as ``source`` has it."""
    return _Planner(settings, source, engine, recipe_digest, freshness).package(PACKAGES[name])


_STANDS_ON: Final = re.compile(r"^it stands on [a-z0-9-]+: ")


def _blocked_warnings(blocked: Sequence[PlannedImage], platform: Platform) -> list[str]:
    """One line per reason, however many images it keeps out."""
    by_reason: dict[str, list[str]] = {}
    for image in blocked:
        by_reason.setdefault(_STANDS_ON.sub("", image.reason), []).append(image.name)
    return [f"left out, {platform} can't have them: {', '.join(names)} ({why})" for why, names in by_reason.items()]


def _base_warnings(settings: Settings, images: Iterable[PlannedImage]) -> list[str]:
    """Base images of another tag that this build would replace."""
    if settings.base_tag == settings.tag:
        return []
    return [
        f"{image.reference} was built from something else and will be replaced: BASE_TAG={settings.base_tag} is not TAG"
        for image in images
        if image.image.is_base and image.status is Status.STALE
    ]


def _date_warnings(source: SourceSnapshot) -> list[str]:
    if source.requirements_date_certain:
        return []
    return [
        "the history of FATE_DIR is cut: what FATE's requirement files leave open is resolved as of "
        f"{source.requirements_date}, and in a whole clone as of the day they were first as they are "
        "(git fetch --unshallow)"
    ]


def _content_warnings(packages: Mapping[str, PlannedPackage]) -> list[str]:
    return [
        f"package {package.name} goes without {len(package.source.missing)} files whose content the clone lacks: "
        + ", ".join(package.source.missing)
        for package in packages.values()
        if package.source.missing
    ]


def _is_neutral(option: str) -> bool:
    name, _, value = option.partition("=")
    return name in NEUTRAL_OPTIONS or (name == "--build-arg" and value.partition("=")[0].upper() in PROXY_VARIABLES)


def _but_bases(arguments: Mapping[str, str]) -> dict[str, str]:
    """Build arguments that are inputs; where a base is says nothing of what it is."""
    return {name: value for name, value in arguments.items() if not name.startswith("BASE_")}


@dataclass(frozen=True)
class _Planner:
    settings: Settings
    source: SourceSnapshot
    engine: EngineState
    recipe_digest: Callable[[str], str]
    freshness: Freshness

    def package(self, package: Package) -> PlannedPackage:
        recipe = RECIPES[package.recipe]
        source = self.source.packages[package.name]
        platform = package.platform(self.settings.platform, self.engine.platform)
        arguments, inputs = self._bases(recipe, platform)
        arguments |= self._environment(recipe)
        inputs |= _but_bases(arguments) | ({"platform": platform} if package.per_platform else {})
        inputs |= self._compiled(recipe, platform) if recipe.requirements else {"content": source.content}
        inputs |= {"recipe": self.recipe_digest(recipe.path)} | self._options(recipe)
        identity = fingerprint({**inputs, "package": package.name})
        stage = f"{LOCAL_NAMESPACE}/package/{package.name}:{identity}"
        stored = self._stored(stage, identity)
        return PlannedPackage(
            name=package.name,
            recipe=recipe.path,
            platform=platform,
            fingerprint=identity,
            stage=stage,
            build_args=arguments,
            inputs=inputs,
            status=Status.CURRENT if stored else Status.MISSING,
            reason="packaged" if stored else "this content was not packaged yet",
            source=source,
        )

    def image(
        self, selected: Selected, parents: Mapping[str, PlannedImage], packages: Mapping[str, PlannedPackage]
    ) -> PlannedImage:
        image = IMAGES[selected.name]
        recipe = image.recipe
        platform = self.settings.platform
        blocked = unbuildable_reason(image.name, platform)
        arguments, inputs = self._bases(recipe, platform)
        if image.parent is not None:
            arguments["PARENT"] = parents[image.parent].stage
        if blocked is None:
            arguments |= {PACKAGES[name].build_arg: packages[name].stage for name in recipe.packages}
        arguments |= {argument: self._fate_env(image, key) for argument, key in recipe.fate_env.items()}
        arguments |= self._environment(recipe)
        inputs |= _but_bases(arguments)
        inputs |= {"recipe": self.recipe_digest(recipe.path), "platform": platform} | self._options(recipe)
        inputs |= self._refreshed(recipe)
        identity = fingerprint({**inputs, "image": image.name})
        stage = f"{LOCAL_NAMESPACE}/image/{image.name}:{identity}"
        tag = self.settings.base_tag if image.is_base else self.settings.tag
        reference, *aliases = (f"{self.settings.prefix}/{name}:{tag}" for name in (image.name, *image.aliases))
        status, reason = (
            (Status.UNBUILDABLE, blocked)
            if blocked is not None
            else self._status(stage, identity, (reference, *aliases), inputs)
        )
        return PlannedImage(
            name=image.name,
            recipe=recipe.path,
            platform=platform,
            fingerprint=identity,
            stage=stage,
            build_args=arguments,
            inputs=inputs,
            status=status,
            reason=reason,
            reference=reference,
            aliases=tuple(aliases),
            selected_by=selected.reason,
            added=selected.added,
            adaptations=self._adaptations(recipe, platform),
        )

    def _bases(self, recipe: Recipe, platform: Platform) -> tuple[dict[str, str], dict[str, str]]:
        """Build arguments (where the base is) and inputs (what it is) of the external bases a recipe stands on."""
        arguments: dict[str, str] = {}
        inputs: dict[str, str] = {}
        since = self.freshness.refreshed.get(self.settings.tag, "")
        for name in recipe.bases:
            base = BASES[name]
            reference = base.local_reference(self.engine.platform if base.build_only else platform)
            arguments[base.build_arg] = reference
            stored = self.engine.by_reference.get(reference)
            wanted = self.freshness.wanted.get(reference)
            as_wanted = stored is not None and (wanted is None or pulled_name(reference, wanted) in stored.references)
            to_be_renewed = self.freshness.renewed.get(reference, "") < since
            # What it will be is known once it is there.
            inputs[f"base {base.reference}"] = (
                stored.image_id if stored and as_wanted and not to_be_renewed else wanted or ABSENT_BASE
            )
        return arguments, inputs

    def _refreshed(self, recipe: Recipe) -> dict[str, str]:
        """Since when it is to be built anew: what stands on something that is follows by its parent."""
        since = self.freshness.refreshed.get(self.settings.tag)
        return {REFRESHED: since} if since and recipe.bases else {}

    def newer_bases(self) -> tuple[str, ...]:
        """The external bases (catalog names) on the engine of which a registry has a newer one."""
        found = []
        for base in BASES.values():
            reference = base.local_reference(self.engine.platform if base.build_only else self.settings.platform)
            stored, newest = self.engine.by_reference.get(reference), self.freshness.newest.get(reference)
            if stored is not None and newest and pulled_name(reference, newest) not in stored.references:
                found.append(base.name)
        return tuple(found)

    def _environment(self, recipe: Recipe) -> dict[str, str]:
        """Build arguments of a Python environment: its date, and which optional indexes are configured."""
        arguments: dict[str, str] = {}
        if recipe.source_date:
            arguments["SOURCE_DATE"] = self.source.requirements_date
        if recipe.optional_indexes:
            configured = [name for name in recipe.optional_indexes if name in self.settings.optional_indexes]
            arguments["EXTRA_INDEXES"] = " ".join(configured)
        return arguments

    def _adaptations(self, recipe: Recipe, platform: Platform) -> tuple[str, ...]:
        """In what the image will differ from FATE's requirements: by rule, by its own package, for lack of an index."""
        changed = map(str, adapt(self._requirements(recipe), self._target(recipe.variant, platform)).changes)
        replaced = (
            f"{line}: replaced by that of package {', '.join(recipe.packages)}"
            for line in self.source.requirements.get("requirements.txt", "").splitlines()
            if name_of(line) in recipe.replaces
        )
        missing = (
            told
            for index, told in LEFT_OUT.items()
            if index in recipe.optional_indexes and index not in self.settings.optional_indexes
        )
        return (*changed, *replaced, *missing)

    def requirement_warnings(self, images: Iterable[PlannedImage]) -> list[str]:
        """Builds of an index of their own that no rule knows: where none is configured, nothing will be found."""
        if self.settings.pip_extra_index_url:
            return []
        lines = dict.fromkeys(
            line
            for image in images
            if image.status is not Status.UNBUILDABLE
            for line in adapt(
                self._requirements(image.image.recipe), self._target(image.image.recipe.variant, image.platform)
            ).lines
            if (build := re.search(r"==[^;\s]*\+(pt)?", line))
            and ("pyg" if build[1] else "pytorch") not in self.settings.optional_indexes
        )
        return [
            f"{line} (FATE's requirement files): the public registries have no such build, and no rule replaces it "
            "(PYTORCH_INDEX_URL, PYG_FIND_LINKS)"
            for line in lines
        ]

    def _compiled(self, recipe: Recipe, platform: Platform) -> dict[str, str]:
        """Of FATE's requirements what decides on wheels that are compiled: their lines and the torch they are for."""
        found = {}
        for variant in VARIANTS:
            target = self._target(variant, platform)
            lines = adapt(self._requirements(recipe), target).lines
            torch = [line for line in lines if name_of(line) == "torch"]
            wheels = compiled(lines, target)
            found[f"compiled for {variant}"] = " ".join((*torch, *wheels)) if wheels else ""
        return found

    def _requirements(self, recipe: Recipe) -> list[str]:
        return [line for name in recipe.requirements for line in self.source.requirements.get(name, "").splitlines()]

    def _target(self, variant: Variant, platform: Platform) -> Target:
        """What requirements are adapted to; which Python that is says the base the engine has."""
        stored = self.engine.by_reference.get(BASES["python"].local_reference(platform))
        major, minor = ((stored and stored.python) or PYTHON_SERIES).split(".")
        return Target(MACHINES[platform], (int(major), int(minor)), variant, self.settings.optional_indexes)

    def _options(self, recipe: Recipe) -> dict[str, str]:
        changing = [option for option in self.settings.docker_options if not _is_neutral(option)]
        # Hashed, since the inputs become labels and options may hold passwords.
        return {"options": hashlib.sha256("\0".join(changing).encode()).hexdigest()[:16]} if changing else {}

    def _fate_env(self, image: Image, key: str) -> str:
        value = self.source.fate_env.get(key)
        if value is None:
            raise FimgError(
                f"{image.name} needs a line {key}=… in fate.env, which {self.source.fate.ref} does not have"
            )
        return value

    def _stored(self, stage: str, identity: str) -> StoredImage | None:
        stored = self.engine.by_reference.get(stage)
        return stored if stored is not None and stored.fingerprint == identity else None

    def _status(self, stage: str, identity: str, names: Sequence[str], inputs: Mapping[str, str]) -> tuple[Status, str]:
        named = [self.engine.by_reference.get(name) for name in names]
        stored = self._stored(stage, identity)
        if stored is not None and not self.settings.no_cache:
            if all(image is not None and image.image_id == stored.image_id for image in named):
                return Status.CURRENT, "built from this source"
            return Status.REUSABLE, "built before; only a name is missing"
        present = next((image for image in named if image is not None), None)
        if present is None:
            return Status.MISSING, "not built yet"
        if present.platform is not None and present.platform != self.settings.platform:
            return Status.MISSING, f"not built yet; the name is held by the {present.platform} image"
        if present.fingerprint is None:
            return Status.STALE, "the image of this name was not built by this pipeline"
        if self.settings.no_cache:
            return Status.STALE, "Docker_Options asks for --no-cache"
        changed = changed_inputs(present.inputs, inputs)
        gone = "its image is gone from the engine; what has its name may be built on it"
        return Status.STALE, f"changed: {', '.join(changed)}" if changed else gone
