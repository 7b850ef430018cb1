"""What is removed of a real instance and a state folder, with an engine made by hand, forty days later."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import OVERVIEW, PUBLISHED, bundle_key, image_key
from fimg_pipeline.assets.partitions import add_tag, known_tags, partition_key
from fimg_pipeline.assets.publishing import DIGESTS
from fimg_pipeline.assets.records import FINGERPRINT
from fimg_pipeline.automation import prune_job, pruning
from fimg_pipeline.automation.ledger import Ledger
from fimg_pipeline.automation.pruning import Removal, prune, superseded
from fimg_pipeline.automation.run_requests import REQUEST
from fimg_pipeline.automation.watching import KEYS
from fimg_pipeline.engine.errors import EngineError, EngineUnreachableError
from fimg_pipeline.plan.model import EngineState, StoredImage
from fimg_pipeline.progress import Event, report
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship import folder as folders
from fimg_pipeline.ship import lock as locks
from fimg_pipeline.ship.digests import digest_of
from fimg_pipeline.ship.layers import LayerStore
from fimg_pipeline.ship.lock import Lock
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline_tests.plan.samples import make_settings

LATER = 40 * 86_400.0


@dataclass
class FakeEngine:
    """Images by name, each with one layer; ``used``: a container was made of it; ``stuck``: just now."""

    images: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)

    def state(self) -> EngineState:
        by_fingerprint: dict[str, set[str]] = {}
        for name, fingerprint in self.images.items():
            by_fingerprint.setdefault(fingerprint, set()).add(name)
        found = [StoredImage(each, frozenset(names), each, "amd64") for each, names in by_fingerprint.items()]
        return EngineState("amd64", tuple(found))

    def used_images(self) -> frozenset[str]:
        return frozenset(self.images[name] for name in self.used)

    def inspect(self, image_id: str) -> dict[str, Any]:
        return {"RootFS": {"Layers": [layer_of(image_id)]}}

    def remove(self, name: str) -> None:
        if name in self.stuck:
            raise EngineError("conflict: a container is using its image")
        del self.images[name]


def layer_of(fingerprint: str) -> str:
    return digest_of(fingerprint.encode())


@dataclass
class Place:
    """An instance, a state folder, an engine."""

    instance: dg.DagsterInstance
    home: Path
    engine: FakeEngine = field(default_factory=FakeEngine)

    @property
    def settings(self) -> Settings:
        return make_settings((), FIMG_HOME=str(self.home), TAG="t")

    def run(self, *materializations: dg.AssetMaterialization) -> str:
        @dg.op
        def work(context: dg.OpExecutionContext) -> Iterator[Any]:
            report(self.home, context.run_id, Event("image", "nginx", "built"))
            yield from materializations
            yield dg.Output(None)

        @dg.job
        def job() -> None:
            work()

        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return job.execute_in_process(instance=self.instance, run_config=quiet).run_id

    def build(self, fingerprint: str, tag: str = "t", result: str = "built") -> str:
        """A run that builds nginx under a tag: the name moves."""
        add_tag(self.instance, tag)
        # As a prune of these days would have written down.
        self.home.mkdir(exist_ok=True)
        (self.home / "tags-seen.json").write_text(json.dumps(dict.fromkeys(known_tags(self.instance), time.time())))
        name = f"federatedai/nginx:{tag}"
        self.engine.images |= {f"localhost/fimg/image/nginx:{fingerprint}": fingerprint, name: fingerprint}
        LayerStore(self.home / "store").add(iter_of(fingerprint.encode()))
        return self.run(
            dg.AssetMaterialization(
                image_key("nginx"),
                partition=partition_key("amd64", tag),
                tags={FINGERPRINT: fingerprint},
                metadata={"reference": name, "result": result},
            )
        )

    def going(self) -> tuple[set[tuple[str, str]], list[Removal], list[str]]:
        removals, waiting = superseded(self.instance, self.settings, [self.engine])  # type: ignore[list-item]
        return {(each.kind, each.what) for each in removals}, removals, waiting

    def record(self, tag: str = "t") -> str:
        ledger = Ledger()
        ledger.read(self.instance, KEYS)
        return ledger.records(str(partition_key("amd64", tag)))["nginx"].fingerprint


def iter_of(content: bytes) -> Any:
    left = [content]
    return lambda _size: left.pop() if left else b""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    class Clock:
        @staticmethod
        def time() -> float:
            return time.time() + LATER

    monkeypatch.setattr(pruning, "time", Clock)
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        yield Place(instance, tmp_path / "home")


def test_what_is_superseded_goes_and_what_is_on_record_stays(place: Place) -> None:
    runs = {name: place.build(name) for name in ("a1", "a2", "a3")}
    runs["x1"] = place.build("x1", "try")
    going, removals, waiting = place.going()
    assert waiting == [] and going == {
        ("image", "localhost/fimg/image/nginx:a1"),
        ("image", "localhost/fimg/image/nginx:x1"),
        ("image", "federatedai/nginx:try"),
        ("layer", layer_of("a1")),
        ("layer", layer_of("x1")),
        ("tag", "try"),
        ("run", runs["a1"]),
        ("run", runs["x1"]),
    }
    # Listed is not removed.
    assert len(place.engine.images) == 6 and known_tags(place.instance) == ["t", "try"]
    done = prune(place.instance, removals, lambda _: None)
    assert done.kept == () and len(done.removed) == len(removals)
    assert set(place.engine.images.values()) == {"a2", "a3"}
    store = LayerStore(place.home / "store")
    assert [store.find(layer_of(name)) is not None for name in ("a1", "a2", "a3", "x1")] == [False, True, True, False]
    assert known_tags(place.instance) == ["t"]
    assert {record.dagster_run.run_id for record in place.instance.get_run_records()} == {runs["a2"], runs["a3"]}
    assert {path.name for path in (place.home / "runs").iterdir()} == {runs["a2"], runs["a3"]}
    assert place.record() == "a3"
    # And then there is nothing left to do.
    assert place.going()[0] == set()


def test_nothing_young_goes_but_versions_that_were_followed_by_others(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setattr(pruning, "time", time)
    for name in ("a1", "a2", "a3"):
        place.build(name)
    place.build("x1", "try")
    assert place.going()[0] == {("image", "localhost/fimg/image/nginx:a1"), ("layer", layer_of("a1"))}


def test_what_was_pushed_last_stays_however_old(place: Place) -> None:
    first = place.build("a1")
    pushed = place.run(
        dg.AssetMaterialization(
            PUBLISHED,
            partition=partition_key("amd64", "t"),
            metadata={DIGESTS: dg.MetadataValue.json({"nginx": {"digest": "sha256:1", "fingerprint": "a1"}})},
        )
    )
    for name in ("a2", "a3"):
        place.build(name)
    going = place.going()[0]
    # By the run of the first it is known whose that image is.
    assert going == set() and {first, pushed} <= {run.run_id for run in place.instance.get_runs()}


def test_of_pushes_the_last_ones_of_each_tag_stay(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_CARRIED_LATELY", 3)
    pushes = [
        place.run(
            dg.AssetMaterialization(
                PUBLISHED, partition=partition_key("amd64", "t"), tags={FINGERPRINT: f"push-{number}"}
            )
        )
        for number in range(5)
    ]
    assert place.going()[0] == {("run", run) for run in pushes[:2]}


def test_while_something_runs_images_and_tags_stay(place: Place) -> None:
    runs = [place.build(name) for name in ("a1", "a2", "a3")]
    place.build("x1", "try")

    @dg.job
    def waiting_job() -> None:
        pass

    under_way = place.instance.create_run_for_job(waiting_job)
    going, _, waiting = place.going()
    assert going == set()
    assert waiting == [f"runs are under way ({under_way.run_id[:8]}): nothing of what they may use goes"]
    # What it is known by that it is ours stays with it.
    place.instance.report_run_canceled(under_way)
    assert ("run", runs[0]) in place.going()[0]


def test_what_begins_while_it_goes_stops_it(place: Place) -> None:
    for name in ("a1", "a2", "a3"):
        place.build(name)

    @dg.job
    def waiting_job() -> None:
        pass

    removals = place.going()[1]
    images = [each for each in removals if each.kind == "image"]
    run = place.instance.create_run_for_job(waiting_job).run_id
    done = prune(place.instance, removals, lambda _: None)
    assert f"image {images[0].what} stays: run {run[:8]} has begun meanwhile" in done.kept
    assert {each.kind for each in done.removed} <= {"run", "file"} and images[0].what in place.engine.images
    # It does not keep itself from it.
    assert not prune(place.instance, images, lambda _: None, own_run=run).kept


def test_what_something_stands_in_the_way_of_stays_and_is_told(place: Place) -> None:
    for name in ("a1", "a2", "a3"):
        place.build(name)
    name = "localhost/fimg/image/nginx:a1"
    removals = place.going()[1]
    place.engine.stuck.add(name)
    done = prune(place.instance, removals, lambda _: None)
    assert done.kept == (f"image {name} stays: conflict: a container is using its image",)
    assert name in place.engine.images and done.removed
    # What is known to be used is not even listed; once it is not any more it goes.
    place.engine.used.add(name)
    assert place.going()[0] == set()
    place.engine.used.clear()
    place.engine.stuck.clear()
    assert ("image", name) in place.going()[0]


def test_names_that_tags_share_stay_with_the_one_that_is_wanted(place: Place) -> None:
    place.build("base", "old")
    shared = {"reference": "federatedai/nginx:old"}
    made = dg.AssetMaterialization(
        image_key("nginx"), partition=partition_key("amd64", "t"), tags={FINGERPRINT: "base"}, metadata=shared
    )
    add_tag(place.instance, "t")
    place.run(made)
    assert {what for kind, what in place.going()[0] if kind == "image"} == set()


def test_what_was_only_found_here_is_somebody_elses(place: Place) -> None:
    for name in ("a1", "a2", "a3"):
        place.build(name, result="reused: an image of this fingerprint was there" if name == "a1" else "built")
    assert {kind for kind, _ in place.going()[0]} == {"run"}


def test_what_runs_left_that_are_gone_goes(place: Place) -> None:
    old = place.home / "sources" / "of-a-run"
    old.mkdir(parents=True)
    (old / "0.json").write_text("{}")
    new = place.home / "sources" / "of-another"
    new.mkdir()
    at = time.time() + LATER
    os.utime(new, (at, at))
    going, removals, _ = place.going()
    assert going == {("source", "of-a-run")}
    prune(place.instance, removals, lambda _: None)
    assert not old.exists() and new.exists()


def test_what_any_engine_has_keeps_its_layers(place: Place) -> None:
    for name in ("a1", "a2", "a3"):
        place.build(name)
    other = FakeEngine({"somebodys/copy:1": "a1", "localhost/fimg/image/nginx:a1": "a1"})
    engines: list[Any] = [place.engine, other]
    removals, _ = superseded(place.instance, place.settings, engines)
    assert {(each.kind, each.what) for each in removals if each.kind in ("image", "layer")} == {
        ("image", "localhost/fimg/image/nginx:a1")
    }
    prune(place.instance, removals, lambda _: None)
    assert "localhost/fimg/image/nginx:a1" not in place.engine.images and len(other.images) == 2


def test_an_engine_that_is_away_keeps_what_it_may_need_and_no_more(place: Place, tmp_path: Path) -> None:
    for name in ("a1", "a2", "a3"):
        place.build(name)
    source = place.home / "sources" / "of-a-run"
    source.mkdir(parents=True)

    class Away(FakeEngine):
        def state(self) -> EngineState:
            raise EngineUnreachableError("no Docker engine answers (tcp://arm)")

    engines: list[Any] = [place.engine, Away()]
    removals, waiting = superseded(place.instance, place.settings, engines)
    assert waiting == ["no Docker engine answers (tcp://arm): what it has stays, and what may be of that"]
    assert {(each.kind, each.what) for each in removals} == {
        ("image", "localhost/fimg/image/nginx:a1"),
        ("source", "of-a-run"),
    }
    with pytest.raises(EngineUnreachableError):
        superseded(place.instance, place.settings, engines[1:])


def test_a_tag_that_somebody_just_made_stays_for_a_while(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    add_tag(place.instance, "fresh")
    assert ("tag", "fresh") not in place.going()[0]
    clock: Any = pruning
    later = clock.time.time() + LATER
    monkeypatch.setattr(clock.time, "time", lambda: later)
    assert ("tag", "fresh") in place.going()[0]


def test_what_was_tried_in_vain_is_remembered(place: Place) -> None:
    """What a person ended, or failed too often, does not come back by itself because its run is old."""

    @dg.job
    def job() -> None:
        pass

    def ended(partition: str, key: str, name: str = "nginx") -> str:
        tags = {"dagster/partition": partition, REQUEST: key}
        run = place.instance.create_run_for_job(job, tags=tags)
        place.instance.report_run_canceled(run)
        folder = place.home / "sources" / key
        folder.mkdir(parents=True)
        (folder / ".wanted.json").write_text(json.dumps({name: f"made of {key}"}))
        return run.run_id

    kept, gone = ended("amd64|t", "aa"), ended("amd64|nobodys", "bb")
    # However often something else of it was tried since.
    for number in range(25):
        ended("amd64|t", f"more-{number}", "fateflow")
    going = place.going()[0]
    assert ("run", gone) in going and ("source", "bb") in going
    assert ("run", kept) not in going and ("source", "aa") not in going
    # Not all of it for ever, whatever it was to be made of.
    assert sum(kind == "source" and what.startswith("more-") for kind, what in going) == 5


def test_locks_that_nobody_takes_any_more_go(place: Place) -> None:
    (place.home / "locks").mkdir(parents=True)
    for name in ("ab" * 20, "base-debian-amd64"):
        (place.home / "locks" / name).touch()
    assert place.going()[0] == {("lock", "ab" * 20)}


def test_by_which_digests_something_was_shared_goes_with_it(place: Place) -> None:
    (place.home / "shared").mkdir(parents=True)
    for name in ("ab" * 20, "cd" * 20):
        (place.home / "shared" / name).touch()
    place.engine.images["localhost/fimg/package/proxy:1"] = "ab" * 20
    assert place.going()[0] == {("shared digest", "cd" * 20)}


def test_what_was_fetched_in_many_pieces_is_kept_as_one(
    place: Place, sample: SampleSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore.open(place.home)
    # As a fetch of many objects: few are written one by one.
    store.git.output("config", "fetch.unpackLimit", "1")
    fetched = []
    for number in range(3):
        commit_change(sample.fate, "note", f"{number}\n", f"Note {number}")
        fetched.append(store.fetch(str(sample.fate), "HEAD", mirror=None))
    # What was written here comes one by one.
    note = store.git.output("hash-object", "-w", "--stdin", stdin=b"a note").decode().strip()
    assert place.going()[0] == set() and store.pieces() == (1, 3)
    monkeypatch.setattr(pruning, "_MOST_PACKS", 2)
    going, removals, _ = place.going()
    assert going == {("object store", str(store.git_dir))}
    prune(place.instance, removals, lambda _: None)
    assert store.pieces() == (0, 1) and all(store.has(f"{commit}^{{tree}}") for commit in fetched)
    assert store.git.output("cat-file", "blob", f"{fetched[0]}:note") == b"0\n" and store.blob(note) == b"a note"


def test_bundles_of_a_tag_that_is_gone_go_without_what_else_is_there(place: Place) -> None:
    for tag in ("t", "try"):
        place.build(f"of-{tag}", tag)
        folder = place.home / "bundles" / f"{tag}-amd64"
        folder.mkdir(parents=True)
        (folder / locks.NAME).write_text(Lock(tag=tag, platform="amd64", bundles={}).text())
        for name in (folders.SUMS, folders.LOADER):
            (folder / name).write_text("x")
        written = {"folder": dg.MetadataValue.path(str(folder))}
        place.run(dg.AssetMaterialization(bundle_key("fate"), partition=partition_key("amd64", tag), metadata=written))
    gone = place.home / "bundles" / "try-amd64"
    (gone / "notes.txt").write_text("mine")
    somebodys = gone.parent / "somebody's"
    somebodys.mkdir()
    for name in (folders.SUMS, locks.NAME):
        (somebodys / name).write_bytes((gone / name).read_bytes())
    going, removals, _ = place.going()
    assert {what for kind, what in going if kind == "bundle"} == {str(gone)}
    prune(place.instance, removals, lambda _: None)
    assert [path.name for path in gone.iterdir()] == ["notes.txt"]
    assert {path.name for path in gone.parent.iterdir()} == {"t-amd64", "try-amd64", "somebody's"}


def test_the_job_removes_and_says_what(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a1", "a2", "a3"):
        place.build(name)
    monkeypatch.setattr(prune_job, "Engine", lambda _: place.engine)

    class Settled(dg.ConfigurableResource[Any]):
        def settings(self) -> Settings:
            return place.settings

    done = prune_job.prune_job.execute_in_process(instance=place.instance, resources={"pipeline": Settled()})
    assert done.success and set(place.engine.images.values()) == {"a2", "a3"}
    (output,) = [event for event in done.all_node_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    table: Any = output.step_output_data.metadata["removed"]
    assert {row.data["kind"]: row.data["removed"] for row in table.records} == {"image": 1, "layer": 1, "run": 1}


def test_of_the_table_of_how_all_stands_few_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_MOST_WRITTEN", 2)
    for _ in range(2):
        place.instance.report_runless_asset_event(dg.AssetMaterialization(OVERVIEW))
    assert place.going()[0] == set()
    place.instance.report_runless_asset_event(dg.AssetMaterialization(OVERVIEW))
    going, removals, _ = place.going()
    assert going == {("history", "overview")}
    prune(place.instance, removals, lambda _: None)
    assert place.instance.fetch_materializations(OVERVIEW, limit=1).records == []
