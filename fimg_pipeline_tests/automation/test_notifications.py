"""Messages as a webhook receives them, of runs in an instance."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fimg_pipeline.assets.keys import LISTS, PUBLISHED
from fimg_pipeline.assets.partitions import partition_key
from fimg_pipeline.assets.publishing import listed_fingerprint, pushed_fingerprint
from fimg_pipeline.assets.records import FINGERPRINT
from fimg_pipeline.automation import notifications as notifications_module
from fimg_pipeline.automation import prune_job, watching
from fimg_pipeline.automation.broken import UNKNOWN, Broken, State
from fimg_pipeline.automation.notifications import notifications
from fimg_pipeline.errors import FimgError, TransientError
from fimg_pipeline.progress import KILLED, Event, report
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline.settings import SettingsError, load
from fimg_pipeline.source.tags import record
from fimg_pipeline_tests.automation.handmade import Handmade, environ_of
from fimg_pipeline_tests.plan.samples import make_settings
from fimg_pipeline_tests.rig.hook import SECRET, Hook, webhook
from fimg_pipeline_tests.source.repositories import AUTHOR, git


class Told:
    """The sensor in an instance, tick by tick."""

    def __init__(self, instance: dg.DagsterInstance, home: Path, *urls: str, pipeline: Any = None) -> None:
        """``pipeline``: of what there is to be planned; without one nothing can be."""
        self.instance, self.home, self.cursor = instance, home, None
        self.pipeline = pipeline or self
        self.environ = {
            "FIMG_HOME": str(home),
            "NOTIFY_URLS": " ".join(urls),
            "UI_URL": "http://ui:3000",
            "Build_Spark": "1",
        }

    cursor: str | None
    #: Why nothing can be planned: what works again is known by runs.
    trouble: FimgError = TransientError("no engine here")

    def settings(self, **chosen: str) -> Any:
        return make_settings((), **self.environ, **chosen)

    def fixed_commits(self, *_: Any) -> dict[str, str]:
        return {}

    def absent_refs(self, *_: Any) -> list[str]:
        return []

    def engine_state(self, address: str | None) -> Any:
        raise self.trouble

    def plan(self, settings: Any, state: Any) -> Any:
        raise AssertionError("there is nothing to plan on")

    def tick(self) -> str:
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            found = notifications(context, pipeline=self.pipeline)
        if isinstance(found, dg.SkipReason):
            return str(found.skip_message)
        assert isinstance(found, dg.SensorResult)
        self.cursor = found.cursor
        assert found.skip_reason is not None
        return str(
            found.skip_reason.skip_message if isinstance(found.skip_reason, dg.SkipReason) else found.skip_reason
        )

    def run(self, *events: Event, tag: str = "t") -> str:
        """A run that ends as its steps say."""
        failed = any(event.what == "failed" for event in events)

        @dg.op
        def work(context: dg.OpExecutionContext) -> None:
            for event in events:
                report(self.home, context.run_id, event)
            if failed:
                raise RuntimeError("a step failed")

        @dg.job(name="build")
        def job() -> None:
            work()

        tags = {"dagster/partition": f"amd64|{tag}", "fimg/brings": "abc A note (somebody)"}
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return job.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False, run_config=quiet).run_id


FAILED = Event("image", "nginx", "failed", 1.0, "E: no such package\nand more")
BUILT = Event("image", "nginx", "built", 1.0)


def test_a_webhook_gets_one_message_for_what_breaks_and_one_when_it_works(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        assert told.tick() == "0 broken" and hook.received == []
        run = told.run(FAILED)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert told.tick() == "1 broken"
        told.run(FAILED)
        assert told.tick() == "1 broken"
        told.run(BUILT)
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"
        assert told.tick() == "0 broken"
        assert [message["title"] for message in hook.received] == [
            "fimg: t for amd64 is broken",
            "fimg: t for amd64 works again",
        ]
        assert hook.received[0]["message"] == (
            f"nginx: E: no such package\nwith abc A note (somebody)\nhttp://ui:3000/runs/{run}"
        )


def test_what_broke_before_it_was_switched_on_is_told(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(FAILED)
        assert "told: fimg: t for amd64 is broken" in told.tick()
        # A cursor that is lost, or of another version of this, costs a message and nothing else.
        told.cursor = '{"seen": "x"}'
        assert "told: fimg: t for amd64 is broken" in told.tick()


def test_a_clock_that_was_ahead_silences_nobody(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.cursor = State(seen=time.time() + 86_400).model_dump_json()
        told.run(FAILED)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        # What ended tomorrow, when it is its time.
        told.run(BUILT)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now - 86_400)
        assert told.tick() == "1 broken"
        monkeypatch.undo()
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"


def test_a_service_that_does_not_answer_gets_it_later_and_the_others_once(
    hook: Hook, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as other:
        other.status = 500
        with dg.DagsterInstance.ephemeral() as instance:
            told = Told(instance, tmp_path, hook.url, other.url)
            told.run(FAILED)
            said = told.tick()
            assert said == "1 broken; 1 could not be told by number 2 of NOTIFY_URLS"
            assert told.tick() == said
            other.status = 200
            # It is not asked at every look.
            assert told.tick() == said
            later(monkeypatch, 120)
            assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
            assert (len(hook.received), len(other.received)) == (1, 1)
            assert told.cursor is not None and SECRET not in told.cursor + said + caplog.text


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Puts the clock on."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_as_long_as_something_is_broken_somebody_is_to_hear_of_it(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same network may keep the build and the message from their ends."""
    hook.status = 500
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(FAILED)
        for _ in range(10):
            assert told.tick() == "1 broken; 1 could not be told by number 1 of NOTIFY_URLS"
            later(monkeypatch, 4000)
        hook.status = 200
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert [message["title"] for message in hook.received] == ["fimg: t for amd64 is broken"]


def test_of_what_nobody_heard_that_it_broke_nobody_hears_that_it_works(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.status = 500
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(FAILED)
        assert "could not be told" in told.tick()
        told.run(BUILT)
        hook.status = 200
        later(monkeypatch, 4000)
        assert told.tick() == "0 broken" and hook.received == []


def test_a_service_whose_url_was_corrected_hears_what_nobody_did(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, "json://127.0.0.1:1/")
        told.run(FAILED)
        assert told.tick() == "1 broken; 1 could not be told by number 1 of NOTIFY_URLS"
        told.environ["NOTIFY_URLS"] = hook.url
        assert told.cursor is not None
        told.cursor = told.cursor.replace('"due":', '"due":0,"was":')
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert len(hook.received) == 1


def test_a_cursor_of_an_earlier_version_is_taken_over(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        broken = {"arm64|t": {"failed": {"nginx": "no"}, "run": "r"}}
        untold = [{"title": "fimg: x", "body": "b", "about": ["arm64|t"], "left": [0], "tries": 3}]
        told.environ["WATCHED_PLATFORMS"] = "amd64,arm64"
        told.cursor = json.dumps({"seen": time.time(), "broken": broken, "untold": untold})
        assert told.tick() == "1 broken; told: fimg: x"


def test_a_run_that_turns_up_late_is_told(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a machine whose clock is behind: it ended before what is known already."""
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(Event("image", "fateflow", "built", 1.0))
        told.tick()
        assert told.cursor is not None
        known = State.model_validate_json(told.cursor)
        told.run(FAILED)
        told.cursor = known.model_copy(update={"seen": time.time() + 10}).model_dump_json()
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        told.run(BUILT)
        for said in ("0 broken; told: fimg: t for amd64 works again", "0 broken", "0 broken"):
            assert told.tick() == said
        assert len(hook.received) == 2


def test_of_a_run_that_was_killed_is_told_what_it_was_to_make(hook: Hook, tmp_path: Path) -> None:
    """It works again when that was made, whatever others make meanwhile."""
    wanted = tmp_path / "sources/key/.wanted.json"
    wanted.parent.mkdir(parents=True)
    wanted.write_text('{"package/proxy": "f", "nginx": "f", "spark-base": "f"}')
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        job = dg.JobDefinition(name="build", graph_def=dg.GraphDefinition(name="build"))
        tags = {"dagster/partition": "amd64|t", "fimg/request": "key"}
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        report(tmp_path, run.run_id, Event("package", "proxy", "built"))
        instance.report_run_failed(run)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert hook.received[0]["message"].startswith(f"nginx, spark-base: {KILLED}")
        told.run(Event("image", "fateboard", "built"))
        told.run(BUILT)
        assert told.tick() == "1 broken"
        told.run(Event("image", "spark-base", "built"))
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"


def test_that_nothing_can_be_pruned_is_told(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks fill."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere")
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)

        class Settled(dg.ConfigurableResource[Any]):
            def settings(self) -> Any:
                return told.settings()

        def prune() -> None:
            prune_job.prune_job.execute_in_process(
                instance=instance, raise_on_error=False, resources={"pipeline": Settled()}
            )

        prune()
        assert told.tick() == "1 broken; told: fimg: job prune is broken"
        assert "prune superseded: no Docker engine answers" in hook.received[0]["message"]
        monkeypatch.setattr(prune_job, "superseded", lambda *_, **__: ([], []))
        prune()
        assert told.tick() == "0 broken; told: fimg: job prune works again"


def test_a_file_that_is_damaged_fails_no_tick(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        run = told.run(FAILED)
        progress = tmp_path / "runs" / run / "progress.jsonl"
        progress.write_bytes(b"\xff\xfe {\n" + progress.read_bytes())
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"


def test_that_nobody_knows_what_is_watched_is_told_once(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        (tmp_path / "tags.json").write_text("{")
        told.run(FAILED)
        assert told.tick() == "1 broken; told: fimg: the list of tags is broken"
        assert "tags.json is damaged" in str(hook.received)
        assert told.tick() == "1 broken"
        (tmp_path / "tags.json").unlink()
        said = told.tick()
        assert said == "1 broken; told: fimg: t for amd64 is broken, fimg: the list of tags works again"


def test_services_that_take_long_don_t_keep_what_was_told_from_being_remembered(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications_module, "_SENDING", -1.0)
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(FAILED)
        for _ in range(7):
            assert "could not be told" in told.tick()
        monkeypatch.undo()
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"


def test_what_people_do_by_hand_they_see_themselves(hook: Hook, tmp_path: Path) -> None:
    pushing = Event("registry", "images", "failed", 1.0, "401")
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(pushing)
        assert told.tick() == "0 broken"
        # Nor when something else of it was made.
        told.run(Event("bundle", "fate", "built", 1.0), Event("bundle", "third-party", "failed", 1.0, "no such image"))
        assert told.tick() == "0 broken"
        told.run(FAILED)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        told.environ["AFTER_BUILD"] = "push"
        told.run(BUILT)
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"
        told.run(pushing)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert hook.received[-1]["message"].startswith("registry images: 401")


def test_what_nobody_wants_any_more_is_forgotten(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(FAILED)
        assert told.tick().startswith("1 broken")
        told.environ["Build_Spark"] = "0"
        assert told.tick() == "0 broken"
        assert len(hook.received) == 1


def test_nobody_is_told_unless_it_is_said(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert Told(instance, tmp_path).tick() == "NOTIFY_URLS is not set: nobody is told"


def test_where_messages_go_is_checked_and_kept_secret(tmp_path: Path) -> None:
    settings = make_settings((), NOTIFY_URLS=f"dingtalk://{SECRET}  json://host/path")
    assert settings.notify_urls == (f"dingtalk://{SECRET}", "json://host/path")
    assert SECRET not in repr(settings)
    with pytest.raises(SettingsError, match="must be URLs of Apprise") as refused:
        make_settings((), NOTIFY_URLS=f"dingtalk:{SECRET}")
    assert SECRET not in str(refused.value)
    with pytest.raises(SettingsError, match="must not be given where others can read it"):
        load({"NOTIFY_URLS": "json://host"}, environ={}, directory=tmp_path)


def test_what_a_revert_mends_is_told(hook: Hook, sample: SampleSource, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        more = {"NOTIFY_URLS": hook.url, "UI_URL": "http://ui:3000"}
        pipeline = Handmade(tmp_path, environ_of(sample, tmp_path, **more), instance)
        told = Told(instance, tmp_path / "home", hook.url, pipeline=pipeline)
        pipeline.build()
        commit_change(sample.fate, "c/proxy/conf/note.conf", "# broken\n", "Broken")
        told.run(FAILED)

        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        # A push by hand, which nobody asks for by itself: only another one tells.
        pushed = Event("registry", "images", "failed", 1.0, "401")
        told.run(pushed)
        assert told.tick() == "1 broken"
        told.run(replace(pushed, what="built"))
        assert told.tick() == "1 broken"
        git(sample.fate, *AUTHOR, "revert", "--no-edit", "HEAD")
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"


def test_a_tag_of_which_nothing_can_be_said_is_told_until_something_can(
    hook: Hook, sample: SampleSource, tmp_path: Path
) -> None:
    environ = environ_of(sample, tmp_path, NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Handmade(tmp_path, environ, instance)
        told = Told(instance, pipeline.settings().home, hook.url, pipeline=pipeline)
        fate = sample.fate / "fate.env"
        assert told.tick() == "0 broken"
        good = fate.read_text()
        commit_change(sample.fate, "fate.env", "nothing\n", "Broken")
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert told.tick() == "1 broken"
        (message,) = hook.received
        assert "has no line FATE=" in str(message) and "http://ui:3000/assets/overview" in str(message)
        commit_change(sample.fate, "fate.env", good, "Mended")
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"
        assert told.tick() == "0 broken" and len(hook.received) == 2


def test_what_can_be_looked_at_again_does_not_wait_for_a_build(
    hook: Hook, sample: SampleSource, tmp_path: Path
) -> None:
    """Nobody may build it by itself; and of what breaks afterwards people are to hear."""
    environ = environ_of(sample, tmp_path, NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Handmade(tmp_path, environ, instance)
        failed = Broken(failed={UNKNOWN: "fate.env at main has no line FATE=…"}, run="")
        told = Told(instance, pipeline.settings().home, hook.url, pipeline=pipeline)
        told.cursor = State(seen=time.time(), broken={"amd64|t": failed}).model_dump_json()
        # A run that went well in the same look says nothing else.
        told.run(Event("image", "eggroll", "built", 1.0))
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"
        told.run(FAILED)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"


def test_what_is_built_anew_by_hand_in_vain_breaks_nothing(hook: Hook, sample: SampleSource, tmp_path: Path) -> None:
    environ = environ_of(sample, tmp_path, NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Handmade(tmp_path, environ, instance)
        told = Told(instance, pipeline.settings().home, hook.url, pipeline=pipeline)
        pipeline.build()
        told.run(FAILED)
        assert told.tick() == "0 broken" and hook.received == []


def test_what_fails_of_a_release_that_moved_is_told(hook: Hook, sample: SampleSource, tmp_path: Path) -> None:
    """It is built anew, though nothing of it would become another."""
    environ = environ_of(sample, tmp_path, TAG="9.9.9-release", NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Handmade(tmp_path, environ, instance)
        told = Told(instance, pipeline.settings().home, hook.url, pipeline=pipeline)
        git(sample.fate, "tag", "v9.9.9")
        pipeline.build("9.9.9-release")
        git(sample.fate, *AUTHOR, "commit", "--allow-empty", "--message", "Nothing")
        git(sample.fate, "tag", "--force", "v9.9.9")
        told.run(FAILED, tag="9.9.9-release")
        assert told.tick() == "1 broken; told: fimg: 9.9.9-release for amd64 is broken"


@pytest.mark.parametrize(
    ("step", "failed"),
    [
        ("push", Event("registry", "images", "failed", 1.0, "401")),
        ("bundle", Event("bundle", "fate", "failed", 1.0, "no space left")),
    ],
)
def test_what_is_still_to_be_carried_stays_broken(
    hook: Hook, sample: SampleSource, tmp_path: Path, step: str, failed: Event
) -> None:
    environ = environ_of(sample, tmp_path, AFTER_BUILD=step, NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Handmade(tmp_path, environ, instance)
        told = Told(instance, pipeline.settings().home, hook.url, pipeline=pipeline)
        pipeline.build()
        told.run(failed)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert told.tick() == "1 broken"
        told.run(replace(failed, what="built"))
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"


def test_what_is_not_to_be_registered_any_more_is_not_broken(hook: Hook, sample: SampleSource, tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    image = "app_images: [{image: nginx, mode: p2p, user: x, platform: %s}]\n"
    file.write_text(image % "amd64")
    more = {"AFTER_BUILD": "register", "KUSCIA_APP_IMAGES": str(file)}
    environ = environ_of(sample, tmp_path, **more, NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Handmade(tmp_path, environ, instance)
        told = Told(instance, pipeline.settings().home, hook.url, pipeline=pipeline)
        pipeline.build()
        told.run(Event("kuscia", "app_images", "failed", 1.0, "no node answers"))
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        assert told.tick() == "1 broken"
        file.write_text(image % "arm64")
        assert told.tick() == "0 broken; told: fimg: t for amd64 works again"


def test_one_cause_is_one_message_however_many_looks_it_takes(
    hook: Hook, sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs takes all the time there is: of the next tag it is known a look later."""
    monkeypatch.setattr(watching, "_LOOKING", -1.0)
    environ = environ_of(sample, tmp_path, NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Handmade(tmp_path, environ, instance)
        told = Told(instance, pipeline.settings().home, hook.url, pipeline=pipeline)
        for tag in ("a", "b"):
            record(pipeline.settings().home, tag, None)
        problem: FimgError = TransientError("no engine here")

        def away(address: str | None = None) -> Any:
            raise problem

        monkeypatch.setattr(pipeline, "engine_state", away)
        titles: list[str] = []
        for _ in range(40):
            titles += [] if told.tick() == "0 broken" else [str(hook.received[-1]["title"])]
            later(monkeypatch, 300)
            if titles:
                break
        assert titles == ["fimg: t for amd64 and 2 more are broken"]
        problem = FimgError("freshness.json is damaged")
        assert [told.tick() for _ in range(4)] == ["3 broken"] * 4


def test_what_happened_while_nobody_looked_nobody_knows(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a night's sleep the engine was ended first, and after it started last."""
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        assert told.tick() == "0 broken"
        later(monkeypatch, 10 * 3600)
        assert told.tick() == "0 broken"


def test_what_should_pass_by_itself_is_told_after_hours(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        began = time.time()

        def after(hours: float) -> str:
            monkeypatch.setattr(time, "time", lambda: began + hours * 3600)
            return told.tick()

        assert [after(tens / 6) for tens in range(19)] == ["0 broken"] * 19
        assert after(3.1) == "1 broken; told: fimg: t for amd64 is broken"
        assert "no engine here" in str(hook.received)
        # Whatever does not pass is told at once.
        told.cursor, told.trouble = None, FimgError("its ref is gone")
        assert after(3.2) == "1 broken; told: fimg: t for amd64 is broken"


def test_one_cause_is_told_under_one_name(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.trouble = FimgError("fate.env at main has no line FATE=…")
        told.run(Event("source", "source", "failed", 1.0, "fate.env at main has no line FATE=…"))
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        (message,) = hook.received
        assert "source source: fate.env at main" in str(message) and UNKNOWN not in str(message)


def test_what_a_run_made_does_not_work_as_long_as_nothing_can_be_said(hook: Hook, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        told = Told(instance, tmp_path, hook.url)
        told.run(FAILED)
        assert told.tick() == "1 broken; told: fimg: t for amd64 is broken"
        told.run(BUILT)
        told.trouble = FimgError("its ref is gone")
        assert told.tick() == told.tick() == "1 broken"


def test_lists_that_are_as_they_should_be_again_are_told(
    hook: Hook, sample: SampleSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a run of theirs: what asked for other lists was taken back."""
    environ = environ_of(sample, tmp_path, AFTER_BUILD="push", NOTIFY_URLS=hook.url, UI_URL="http://ui:3000")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline: Any = Handmade(tmp_path, environ, instance)
        broken = Broken(failed={"registry lists": "401"}, run="r")
        state = State(seen=time.time(), broken={"t": broken}).model_dump_json()

        def tick() -> str:
            with dg.build_sensor_context(instance=instance, cursor=state) as context:
                found: Any = notifications(context, pipeline=pipeline)
            return str(found.skip_reason.skip_message)

        assert tick() == "1 broken"
        plan = pipeline.build()
        carried = {name: plan.image(name).fingerprint for name in plan.push}
        pushed = pushed_fingerprint(carried, plan.prefix)
        for key, partition, value in (
            (PUBLISHED, str(partition_key("amd64", "t")), pushed),
            (LISTS, "t", listed_fingerprint({"amd64": pushed})),
        ):
            made = dg.AssetMaterialization(key, partition=partition, tags={FINGERPRINT: value})
            instance.report_runless_asset_event(made)
        assert "told: fimg: t works again" in tick()
