"""Thousands of events against the real sensor, with an engine of dictionaries: in the end all is built.

Runs are Dagster's own, of a job that does what steps do: it makes what was asked for, in order, of the source that was
pinned, and reuses what the engine has.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import SOURCE, asset_name, planned_key
from fimg_pipeline.assets.partitions import TAG_PARTITIONS, partition_key
from fimg_pipeline.assets.records import COMMIT, FINGERPRINT
from fimg_pipeline.automation import commits as commits_module
from fimg_pipeline.automation.claims import claimed
from fimg_pipeline.automation.run_requests import REQUEST, lacking, look
from fimg_pipeline.automation.run_requests import request as ask
from fimg_pipeline.automation.stale import ATTEMPTS, items
from fimg_pipeline.automation.watching import Memory, Watched, survey
from fimg_pipeline.catalog import packages as catalog
from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.plan.model import EngineState, Plan, Planned, PlannedImage, StoredImage
from fimg_pipeline.plan.planner import make_plan
from fimg_pipeline.progress import Event, What, report
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.model import SourceSnapshot
from fimg_pipeline.source.pins import resolve_once
from fimg_pipeline.source.tags import forget, record, recorded, ref_of
from fimg_pipeline_tests.automation.tries import Tries
from fimg_pipeline_tests.plan.samples import make_settings, make_source

pytestmark = pytest.mark.simulation

#: So many in each of the worlds; all is settled, and looked at, after every :data:`ROUND` of them.
EVENTS = 500
ROUND = 250
FEATURES = (Feature.BASIC, Feature.SPARK)
PACKAGES = ("proxy", "fateflow", "eggroll", "fateboard", "fate")
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
#: The clock, which the sensor is not shown.
_NOW = time.time
BRANCHES = ("origin/develop", "origin/next")


@dataclass
class FakeEngine:
    """Images by fingerprint and platform."""

    images: dict[tuple[str, Platform], StoredImage] = field(default_factory=dict)
    bases: dict[str, int] = field(default_factory=Counter)

    def state(self) -> EngineState:
        bases = [
            StoredImage(
                f"sha256:{base.name}-{platform}-{self.bases[base.name]}", frozenset({base.local_reference(platform)})
            )
            for base in BASES.values()
            for platform in PLATFORMS
        ]
        return EngineState("amd64", (*bases, *self.images.values()))

    def make(self, item: Planned) -> None:
        """As the builder does: what is there is reused; people's names move."""
        key = (item.fingerprint, item.platform)
        if key not in self.images:
            self.images[key] = StoredImage(
                f"sha256:{item.fingerprint}-{item.platform}",
                frozenset({item.stage}),
                item.fingerprint,
                item.platform,
                item.inputs,
            )
        if isinstance(item, PlannedImage):
            names = frozenset(item.names)
            for other, image in list(self.images.items()):
                self.images[other] = replace(image, references=image.references - names)
            self.images[key] = replace(self.images[key], references=self.images[key].references | names)

    def lose(self, chance: random.Random) -> None:
        """One that somebody has a name for, as far as there are; or all that nobody has, as packages."""
        named = sorted(key for key, image in self.images.items() if len(image.references) > 1)
        if chance.random() < 0.3:
            self.images = {key: self.images[key] for key in named}
        elif self.images:
            del self.images[chance.choice(named or sorted(self.images))]


@dataclass
class World:
    """What changes, and the :class:`~fimg_pipeline.assets.pipeline.Pipeline` of the sensor that sees it."""

    home: Path
    chance: random.Random
    engine: FakeEngine = field(default_factory=FakeEngine)
    sources: dict[str, dict[str, str]] = field(default_factory=lambda: {branch: {} for branch in BRANCHES})
    earlier: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {branch: [{}] for branch in BRANCHES})
    recipes: Counter[str] = field(default_factory=Counter)
    platforms: tuple[Platform, ...] = ("amd64",)
    features: tuple[Feature, ...] = (Feature.BASIC,)
    prefix: str = "federatedai"
    broken: set[str] = field(default_factory=set)
    unsound: set[str] = field(default_factory=set)
    tries: Tries = field(default_factory=Tries)
    elapsed: float = 0.0
    cancelled: int = 0
    wrong: list[str] = field(default_factory=list)

    def settings(self, **chosen: str) -> Settings:
        platforms = ",".join(self.platforms)
        own = {"FIMG_HOME": str(self.home), "WATCHED_PLATFORMS": platforms, "TAG": "nightly", "PREFIX": self.prefix}
        return make_settings(self.features, **{**own, **chosen})

    def source(self, settings: Settings) -> SourceSnapshot:
        """A release stays what it was at first; what nobody recorded is the first branch."""
        ref = ref_of(settings.home, settings.tag) or BRANCHES[0]
        contents = self.sources.get(ref, {})
        found = make_source(**contents)
        # As git has it: equal contents, equal commit; a revert is the commit it goes back to.
        identity = hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:40]
        fate = replace(found.fate, ref=ref, commit=identity, tree=identity)
        return replace(found, fate=fate, repositories={"fate": fate})

    def plan(
        self,
        settings: Settings,
        state: EngineState | None = None,
        remotes: object = None,
        *,
        source: SourceSnapshot | None = None,
    ) -> Plan:
        return make_plan(
            settings,
            source or self.source(settings),
            state or self.engine.state(),
            lambda path: f"{path} {self.recipes[path]}",
        )

    def engine_state(self, address: str | None = None) -> EngineState:
        return self.engine.state()

    def absent_refs(self, settings: Settings, refs: list[str]) -> list[str]:
        return []

    def fixed_commits(self, settings: Settings, refs: list[str]) -> Mapping[str, str]:
        released = replace(settings, tag="1.11.2-release")
        return {ref: self.source(released).fate.commit for ref in refs if ref == "v1.11.2"}

    def time(self) -> float:
        return _NOW() + self.elapsed


def named(item: Planned) -> str:
    """The name it gets."""
    return item.reference if isinstance(item, PlannedImage) else item.stage


def run(instance: dg.DagsterInstance, world: World, request: dg.RunRequest, ends: str, meanwhile: Any) -> None:
    """Executes what was asked for; ``ends``: well, in the middle, or cancelled. ``meanwhile`` is called within it."""
    partition = request.partition_key
    platform, tag = str(partition).split("|")
    settings = world.settings(TAG=tag, Platform=platform)
    key = request.run_config["resources"]["pipeline"]["config"]["source"]
    wanted = ["/".join(asset.path) for asset in request.asset_selection or ()]
    fingerprints: dict[str, str] = {}
    made: set[str] = set()
    #: What failed by what it says itself.
    told: set[str] = set()

    @dg.op
    def make(context) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:  # type: ignore[no-untyped-def]
        plan = world.plan(settings, source=resolve_once(settings, catalog.PACKAGES, key))
        items = {asset_name(item): item for item in (*plan.packages, *plan.buildable)}
        fingerprints.update({name: items[name].fingerprint for name in wanted if name in items})
        try:
            meanwhile()
        except AssertionError as error:
            world.wrong.append(str(error))
        failed: list[str] = []

        def tells(name: str, what: What) -> None:
            kind, _, short = name.rpartition("/")
            told.add(name) if what == "failed" else None
            report(world.home, context.run_id, Event("package" if kind else "image", short, what))

        stops = world.chance.randrange(len(wanted)) if ends != "well" else len(wanted)
        for place, name in enumerate(wanted):
            if place == stops:
                if name != "source":
                    tells(name, "started")
                    told.add(name)
                if ends != "cancelled":
                    raise RuntimeError("the machine went away")
                # As the web UI does before it interrupts the process.
                instance.report_run_canceling(context.run)
                raise KeyboardInterrupt
            if name == "source":
                yield dg.AssetMaterialization(SOURCE, partition=str(partition), tags={COMMIT: plan.source.fate.commit})
                continue
            item = items[name]
            below = (
                [f"package/{package}" for package in item.image.recipe.packages]
                if isinstance(item, PlannedImage)
                else []
            )
            if isinstance(item, PlannedImage) and item.image.parent:
                below.append(item.image.parent)
            if set(below) & set(failed):
                failed.append(name)
                continue
            if name in world.broken:
                tells(name, "failed")
                failed.append(name)
                continue
            held = world.engine.state().by_reference
            if (item.fingerprint, item.platform) not in world.engine.images:
                missing = [each for each in below if items[each].stage not in held]
                if missing:
                    # Not raised: it would be taken for a failing build.
                    world.wrong.append(f"{name} was asked for without {missing}")
            # What does not pass its checks is on record, too, but gets no name.
            sound = name not in world.unsound
            if sound:
                world.engine.make(item)
                world.tries.made(str(partition), name)
                made.add(name)
            else:
                failed.append(name)
                world.tries.made(str(partition), name, unsound=item.fingerprint)
            tells(name, "built" if sound else "failed")
            yield dg.AssetMaterialization(
                dg.AssetKey(name.split("/")),
                partition=str(partition),
                tags={FINGERPRINT: item.fingerprint, COMMIT: plan.source.fate.commit},
                metadata={"reference": named(item)} if sound else {},
            )
        if failed:
            raise RuntimeError(f"{failed} failed")
        yield dg.Output(None)

    @dg.job
    def build() -> None:
        make()

    tags = {
        **request.tags,
        "dagster/partition": str(partition),
        "dagster/partition/platform": platform,
        "dagster/partition/tag": tag,
    }
    with suppress(KeyboardInterrupt):
        build.execute_in_process(instance=instance, tags=tags, raise_on_error=False, run_config=_QUIET)
    (last,) = instance.get_runs(limit=1)
    world.cancelled += last.status is dg.DagsterRunStatus.CANCELED
    if REQUEST not in request.tags:
        # What people launch they see themselves.
        return
    lacking = {name: fingerprint for name, fingerprint in fingerprints.items() if name not in made}
    if last.status is dg.DagsterRunStatus.CANCELED:
        world.tries.was_cancelled(str(partition), lacking)
    elif last.status is dg.DagsterRunStatus.FAILURE:
        # Of what stood on something that failed nothing is known; where nothing says that it failed, of all.
        tried = {name: value for name, value in lacking.items() if name in told}
        world.tries.has_failed(str(partition), tried or lacking)


@dataclass
class Simulation:
    """The sensor in a world, tick by tick, and nights; ``cursor``: what it left to itself."""

    instance: dg.DagsterInstance
    world: World
    cursor: str | None = None
    nights: int = 0

    def tick(self, busy: str | None = None) -> list[dg.RunRequest]:
        """One tick of the sensor; for ``busy``, the partition of a run that is under way, it must not ask."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = commits_module.commits(context, pipeline=self.world)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for added in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(TAG_PARTITIONS, list(added.partition_keys))
        requests = list(result.run_requests or ())
        assert busy not in [str(request.partition_key) for request in requests]
        for request in requests:
            self.check(request)
            self.require_not_given_up(request)
        return requests

    def coming(self) -> None:
        """While a run waits, or is about to begin, nobody asks for another one of its partition."""
        where = str(partition_key("amd64", "nightly"))
        job = dg.JobDefinition(name="build", graph_def=dg.GraphDefinition(name="build"))
        status = self.world.chance.choice((dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING))
        waits = self.instance.create_run_for_job(job, status=status, tags={"dagster/partition": where})
        self.tick(where)
        self.instance.delete_run(waits.run_id)

    def watched(self) -> list[Watched]:
        world: Any = self.world
        found = survey(self.instance, world, Memory(), self.world.platforms)
        return [each for platforms in found for each in platforms]

    def night(self) -> list[dg.RunRequest]:
        """What the schedule asks for: whatever is stale of what is followed, however often it failed."""
        self.nights += 1
        now = self.world.time()
        followed = [each for each in self.watched() if each.fixed is None]
        looks = [look(self.instance, each, now, night=str(self.nights)) for each in followed]
        asked = [each.request for each in looks if each.request is not None]
        requests = claimed(self.instance, self.world.home, f"night {self.nights}", asked, now)
        for request in requests:
            self.check(request)
        return requests

    def by_hand(self) -> list[dg.RunRequest]:
        """What is left waits for a person, who launches it: what one ended, and a release that failed too often."""
        requests = []
        for each in self.watched():
            left = [] if each.built_once else lacking(each)
            if left:
                found = look(self.instance, each, self.world.time())
                assert found.request is None, found.told
                wanted = {asset_name(item): item.fingerprint for item in left}
                keys = [SOURCE, *(dg.AssetKey(name.split("/")) for name in wanted)]
                asked = ask(each, wanted, keys)
                # As what a person launches.
                tags = {name: value for name, value in asked.tags.items() if name != REQUEST}
                requests.append(asked._replace(tags=tags))
        return requests

    def check(self, request: dg.RunRequest) -> None:
        """Nothing is asked for that is on record as planned and on the engine."""
        platform, tag = str(request.partition_key).split("|")
        plan = self.world.plan(self.world.settings(TAG=tag, Platform=platform))
        items = {asset_name(item): item for item in (*plan.packages, *plan.buildable)}
        for key in request.asset_selection or ():
            name = "/".join(key.path)
            if name == "source":
                continue
            item = items[name]
            made = self.made(item, platform, tag) == (item.fingerprint, plan.source.fate.commit)
            made |= tag != "1.11.2-release" and self.made(item, platform, tag)[0] == item.fingerprint
            assert not made or (item.fingerprint, item.platform) not in self.world.engine.images, f"{name} was made"

    def require_not_given_up(self, request: dg.RunRequest) -> None:
        """Nothing is tried for ever, and what a person ended only for something that is new."""
        where = str(request.partition_key)
        platform, tag = where.split("|")
        plan = self.world.plan(self.world.settings(TAG=tag, Platform=platform))
        asked = [item for item in items((*plan.packages, *plan.buildable)) if _key(item.name) in _selected(request)]
        needed: set[str] = set()
        # Parents come first.
        for item in reversed(asked):
            assert not self.world.tries.given_up(where, item.name, item.fingerprint), f"{item.name} is tried for ever"
            ended = (where, item.name, item.fingerprint) in self.world.tries.ended
            assert item.name in needed or not ended, f"a person ended {item.name}"
            needed |= set(item.needs)

    def require_explained(self) -> None:
        """What ticks leave stale was tried too often, or ended by a person, or stands on something that was."""
        for each in self.watched():
            if each.built_once:
                continue
            left = self.world.tries.unexplained(each.partition, items(lacking(each)), each.records)
            assert not left, f"{left} of {each.partition} are stale, and no tick asks for them"

    def made(
        self, item: Planned, platform: str, tag: str, *, by_any_name: bool = False
    ) -> tuple[str | None, str | None]:
        """The fingerprint an asset was last materialized with, passed its checks and was named, and FATE's commit."""
        wanted = dg.AssetRecordsFilter(asset_key=planned_key(item), asset_partitions=[partition_key(platform, tag)])
        found = self.instance.fetch_materializations(wanted, limit=1).records
        made = found[0].asset_materialization if found else None
        reference = made.metadata.get("reference") if made else None
        if made is None or reference is None or not (by_any_name or reference.value == named(item)):
            return None, None
        return (made.tags or {}).get(FINGERPRINT), (made.tags or {}).get(COMMIT)

    def execute(self, request: dg.RunRequest, ends: str = "well") -> None:
        def meanwhile() -> None:
            if self.world.chance.random() < 0.3:
                self.tick(str(request.partition_key))

        run(self.instance, self.world, request, ends, meanwhile)

    def settle(self) -> None:
        """Ticks, nights and runs that end well, until nothing is asked for any more, and then what a person ended."""
        self.world.broken.clear()
        self.world.unsound.clear()
        for _ in range(20):
            # A week later also a registry is back that was down for days.
            self.world.elapsed += 300_000
            requests = self.tick()
            if not requests:
                self.require_explained()
                requests = self.night() or self.by_hand()
            if not requests:
                return
            for request in requests:
                self.execute(request)
        raise AssertionError(f"it does not come to rest: {[request.asset_selection for request in requests]}")

    def require_all_built(self) -> None:
        """Every watched tag is, on record and on the engine, what building everything would make of it."""
        for tag in ("nightly", "next", "1.11.2-release"):
            if tag != "nightly" and tag not in recorded(self.world.home):
                continue
            for platform in self.world.platforms:
                plan = self.world.plan(self.world.settings(TAG=tag, Platform=platform))
                for item in plan.buildable:
                    release = tag == "1.11.2-release"
                    made, commit = self.made(item, platform, tag, by_any_name=release)
                    if not release:
                        assert made == item.fingerprint, (tag, item.name)
                        assert (item.fingerprint, platform) in self.world.engine.images, (tag, item.name)
                    else:
                        # Built once, of what it stands for: recipes and bases that change later don't reach it.
                        assert made is not None and commit == plan.source.fate.commit, (tag, item.name)


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))


def _selected(request: dg.RunRequest) -> set[dg.AssetKey]:
    return set(request.asset_selection or ())


def change(world: World) -> None:
    """Something happens."""
    chance, home = world.chance, world.home
    branch = chance.choice(BRANCHES)
    what = chance.randrange(16)
    if what < 5:
        # A commit, in one or two packages; a submodule's is one, too.
        changed = {name: f"content {chance.random()}" for name in chance.sample(PACKAGES, chance.choice((1, 2)))}
        world.earlier[branch].append(dict(world.sources[branch]))
        world.sources[branch] = {**world.sources[branch], **changed}
    elif what == 5:
        # Back to anything, of this branch or another.
        world.sources[branch] = dict(chance.choice([found for each in world.earlier.values() for found in each]))
    elif what == 6:
        world.recipes[chance.choice(("modules/nginx", "modules/eggroll", "modules/fateflow"))] += 1
    elif what == 7:
        world.engine.bases[chance.choice(list(BASES))] += 1
    elif what == 8:
        world.engine.lose(chance)
    elif what == 9:
        world.broken ^= {chance.choice(("nginx", "fateflow", "package/proxy", "base-image"))}
    elif what == 10:
        world.platforms = chance.choice((("amd64",), ("amd64", "arm64")))
    elif what == 11:
        world.features = chance.choice((FEATURES, (Feature.BASIC,), (Feature.SPARK,)))
    elif what == 12:
        for tag, ref in (("next", BRANCHES[1]), ("1.11.2-release", "v1.11.2")):
            record(home, tag, ref) if chance.random() < 0.7 else forget(home, tag)
    elif what == 13:
        # The daemon starts again: what it remembered is gone.
        commits_module._MEMORY = Memory()  # type: ignore[misc]
    elif what == 14:
        # A release may be moved, too.
        world.sources["v1.11.2"] = {"proxy": f"content {chance.randrange(3)}"}
    elif what == 15:
        world.unsound ^= {chance.choice(("nginx", "fateflow"))}
    world.elapsed += chance.choice((1, 60, 600, 3600))


@pytest.mark.parametrize("seed", range(1, 5))
def test_whatever_happens_all_is_built_in_the_end(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, random.Random(seed))
    monkeypatch.setattr(commits_module, "_MEMORY", Memory())
    monkeypatch.setattr(commits_module, "_STATUSES", {})
    monkeypatch.setattr(commits_module, "time", world)
    with dg.DagsterInstance.ephemeral() as instance:
        simulation = Simulation(instance, world)
        for number in range(EVENTS):
            change(world)
            if world.chance.random() < 0.1:
                simulation.cursor = world.chance.choice((None, "next", "nobody's"))
            if world.chance.random() < 0.05:
                simulation.coming()
            requests = simulation.tick()
            if world.chance.random() < 0.1:
                # In the same moment: those of the tick are not there yet.
                requests += simulation.night()
            assert len({str(request.partition_key) for request in requests}) == len(requests), "asked for twice"
            world.chance.shuffle(requests)
            for request in requests:
                ends = world.chance.choices(("well", "in the middle", "cancelled", "never begins"), (12, 2, 1, 2))[0]
                if ends != "never begins":
                    simulation.execute(request, ends)
            if number % ROUND == ROUND - 1:
                simulation.settle()
                before = world.sources[BRANCHES[0]]
                # Something that a person ends; something else; a revert to what was ended; one to what was built.
                world.sources[BRANCHES[0]] = {"fateflow": f"ended {number}"}
                for request in simulation.tick():
                    simulation.execute(request, "cancelled")
                for contents in ({"fateflow": f"else {number}"}, {"fateflow": f"ended {number}"}, before):
                    world.sources[BRANCHES[0]] = contents
                    simulation.settle()
                # Something that fails until it is given up; something else; a revert to what was given up.
                world.sources[BRANCHES[0]] = {"eggroll": f"failed {number}"}
                world.broken.add("package/eggroll")
                for _ in range(ATTEMPTS):
                    for request in simulation.tick():
                        simulation.execute(request)
                    world.elapsed += 300_000
                assert not simulation.tick(), "it is tried for ever"
                for contents in ({"eggroll": f"else {number}"}, {"eggroll": f"failed {number}"}):
                    world.sources[BRANCHES[0]] = contents
                    simulation.settle()
                simulation.require_all_built()
                # Nothing changes, but something is gone; but the names.
                world.engine.lose(world.chance)
                simulation.settle()
                simulation.require_all_built()
                world.prefix = f"elsewhere{number}"
                simulation.settle()
                simulation.require_all_built()
                assert not world.wrong
        assert world.cancelled, "no run was cancelled"
