"""The command line as scripts and people meet it, without an engine."""

from __future__ import annotations

import errno
import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from fimg_pipeline.cli import main
from fimg_pipeline.progress import Event, Outcomes
from fimg_pipeline.sample import SampleSource
from fimg_pipeline_tests.rig.command import FIMG, environment


def fimg(sample: SampleSource, tmp_path: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    given = {
        **environment(),
        "FIMG_HOME": str(tmp_path / "home"),
        "FATE_DIR": str(sample.fate),
        "DOCKER_HOST": f"unix://{tmp_path}/absent.sock",
        **settings,
    }
    done = subprocess.run([FIMG, *arguments], env=given, cwd=tmp_path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_plan_as_json_has_the_fixed_names(pristine: SampleSource, tmp_path: Path) -> None:
    status, output, _ = fimg(pristine, tmp_path, "plan", "--json", TAG="1.11.2-release")
    plan = json.loads(output)
    assert status == 0
    assert {"tag", "base_tag", "platform", "prefix", "source", "images", "push", "bundle", "warnings"} <= set(plan)
    assert {"ref", "commit", "dirty"} <= set(plan["source"])
    image = {
        "name", "reference", "aliases", "parents", "dockerfile", "packages", "build_args", "selected_by", "fingerprint",
        "status", "reason",
    }  # fmt: skip
    assert all(image <= set(entry) for entry in plan["images"])
    assert (plan["source"]["ref"], plan["images"][0]["name"]) == ("v1.11.2", "base-image")
    assert any("no Docker engine answers" in text for text in plan["warnings"])


def test_plan_touches_neither_source_nor_working_folder(pristine: SampleSource, tmp_path: Path) -> None:
    assert fimg(pristine, tmp_path, "plan")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


JOB = "kind: KusciaJob\r\nspec:\r\n  tasks:\r\n  - taskID: ä  # one\r\n    appImage: old\r\n"


def test_a_job_is_printed_byte_for_byte_but_for_its_app_image(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(JOB.encode())
    for file, given in (("job.yaml", None), ("-", JOB.encode())):
        command = [FIMG, "kuscia-job", "--app-image", "fate-client", file]
        done = subprocess.run(command, input=given, cwd=tmp_path, capture_output=True, check=True)
        assert done.stdout == JOB.replace("old", "fate-client").encode()
    assert (tmp_path / "job.yaml").read_bytes() == JOB.encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"kind: Pod\n", "job.yaml: it holds no document of kind KusciaJob"),
        (b"kind: [", "job.yaml: it is no YAML"),
        (b"kind: \xff", "job.yaml is no text in UTF-8"),
        (None, "job.yaml can't be read: No such file or directory"),
    ],
)
def test_what_is_no_job_is_named(pristine: SampleSource, tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "job.yaml").write_bytes(content)
    status, output, said = fimg(pristine, tmp_path, "kuscia-job", "--app-image", "x", "job.yaml")
    assert (status, output) == (1, "") and told in said, said


def test_flags_win_over_the_environment(pristine: SampleSource, tmp_path: Path) -> None:
    arguments = ("plan", "--json", "--tag", "flag", "--prefix", "10.0.0.5:5000/a", "--platform", "arm64")
    _, output, _ = fimg(pristine, tmp_path, *arguments, TAG="environment")
    plan = json.loads(output)
    assert (plan["tag"], plan["platform"]) == ("flag", "arm64")
    assert plan["images"][0]["reference"] == "10.0.0.5:5000/a/base-image:flag"


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "message"),
    [
        (("plan",), {"TAG": "a b"}, 1, "TAG='a b' (environment): must be a Docker tag"),
        (("plan",), {"FATE_DIR": "/nonexistent"}, 1, "FATE_DIR=/nonexistent is not a folder"),
        (("plan",), {"TAG": "9.9.9-release"}, 1, "v9.9.9"),
        (("plan", "--image", "nginxx"), {}, 1, "there is no image 'nginxx'"),
        (("build",), {}, 1, "no Docker engine answers"),
        (
            ("build", "--image", "fateflow-nn"),
            {"Platform": "arm64"},
            1,
            "fateflow-nn can't be built for arm64: data.pyg.org has no builds",
        ),
        (("build", "everything"), {}, 2, "'everything' is not one of"),
        (("plan", "--no-such-flag"), {}, 2, "No such option"),
        (("nonsense",), {}, 2, "No such command"),
        (("plan",), {"FIMG_HOME": "/proc/none"}, 1, "FIMG_HOME=/proc/none can't be created"),
    ],
)
def test_errors_are_messages_with_a_truthful_status(
    pristine: SampleSource,
    tmp_path: Path,
    arguments: tuple[str, ...],
    settings: dict[str, str],
    status: int,
    message: str,
) -> None:
    found, output, errors = fimg(pristine, tmp_path, *arguments, **settings)
    assert found == status, errors
    assert message in errors
    assert "Traceback" not in errors and not output


def test_the_doctor_says_what_is_wrong_and_ends_with_that(pristine: SampleSource, tmp_path: Path) -> None:
    # Nothing leaves this machine.
    away = dict.fromkeys(("APT_MIRROR", "PIP_INDEX_URL", "NPM_CONFIG_REGISTRY", "MAVEN_MIRROR"), "http://127.0.0.1:1/x")
    status, output, _ = fimg(pristine, tmp_path, "doctor", PREFIX="127.0.0.1:1/x", **away)
    assert status == 1 and output.splitlines()[-1] == "1 wrong, 4 warnings"
    assert f"✗ engine: no Docker engine answers (unix://{tmp_path}/absent.sock)\n    → start it" in output
    status, output, _ = fimg(pristine, tmp_path, "doctor", "--json", PREFIX="127.0.0.1:1/x", **away)
    found = {each["part"]: each["verdict"] for each in json.loads(output)}
    assert status == 1 and (found["engine"], found["source"], found["PyPI"]) == ("wrong", "ok", "warning")


@pytest.mark.parametrize("encoding", ["gbk", "latin-1"])
def test_terminals_that_lack_a_letter_are_told_all_the_same(tmp_path: Path, encoding: str) -> None:
    own = {**environment(), "FIMG_HOME": str(tmp_path / "home"), "FATE_DIR": str(tmp_path / "gone")}
    done = subprocess.run(
        [FIMG, "plan"], env={**own, "PYTHONIOENCODING": encoding}, cwd=tmp_path, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode(encoding)
    assert done.returncode == 1 and "gone is not a folder" in said and "set FATE_DIR to" in said, said
    assert "Traceback" not in said and "\\u" not in said


def test_prune_is_of_all_tags_and_of_the_instance_that_dotenv_names(pristine: SampleSource, tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir()
    (tmp_path / ".env").write_text(f"DAGSTER_HOME={tmp_path}/instance\n")
    status, _, errors = fimg(pristine, tmp_path, "prune")
    assert status == 1 and "no Docker engine answers" in errors
    assert list((tmp_path / "instance").iterdir()) and not (tmp_path / "home/dagster").exists()
    status, _, errors = fimg(pristine, tmp_path, "prune", "--tag", "other")
    assert status == 2 and "--tag" in errors


def test_no_value_reaches_a_shell(pristine: SampleSource, tmp_path: Path) -> None:
    for name in ("TAG", "PREFIX", "Docker_Options", "Build_LLM_VERSION", "GIT_MIRROR", "FATE_DIR"):
        status, _, errors = fimg(
            pristine, tmp_path, "plan", **{name: f"$(touch {tmp_path}/pwned);`touch {tmp_path}/pwned`"}
        )
        assert status == 1 and f"{name}=" in errors
    assert not (tmp_path / "pwned").exists()


def test_what_failed_and_was_interrupted_when_tried_again_has_failed() -> None:
    outcomes = Outcomes()
    key = ("image", "nginx")
    seen = []
    for what in ("started", "failed", "started", "built"):
        outcomes.add(Event("image", "nginx", what))
        seen.append(outcomes.events[key].what)
    assert seen == ["started", "failed", "failed", "built"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/state/x"), "error: /state/x: No space left on device"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/fate/x", None, "/state/x"),
            "error: /state/x: No space left",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), "error: a file: Permission denied"),
        (sqlite3.OperationalError("database or disk is full"), "error: Dagster's database: database or disk is full"),
    ],
)
def test_a_full_disk_is_no_bug(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raises(**_: object) -> None:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("what Dagster makes of it") from cause

    monkeypatch.setattr(main, "main", raises)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main.entry()
    assert ended.value.code == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [OSError(errno.EBADF, "Bad file descriptor"), sqlite3.OperationalError("no such table: runs")]
)
def test_a_bug_stays_one(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(**_: object) -> None:
        raise error

    monkeypatch.setattr(main, "main", raises)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(type(error)):
        main.entry()
