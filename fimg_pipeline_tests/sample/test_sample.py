"""The sample source: same files, same commits; what a user committed is never lost."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fimg_pipeline.sample import SampleError, SampleSource, commit_change, create_sample
from fimg_pipeline.sample.generate import FILES
from fimg_pipeline_tests.rig.repository import lose_object

SUBMODULES = ("fateboard", "eggroll", "fateflow")


def git(cwd: Path, *arguments: str) -> str:
    """Plain git as a user has it: the repositories must work without the generator's own settings."""
    done = subprocess.run(
        ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.org", *arguments],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commits(source: SampleSource) -> dict[str, str]:
    repositories = {name: source.fate / name for name in SUBMODULES}
    repositories |= {"fate": source.fate, "fate-llm": source.fate_llm, "ipcl": source.ipcl}
    return {name: git(path, "rev-parse", "HEAD") for name, path in repositories.items()}


def test_same_files_give_the_same_commits(pristine: SampleSource, tmp_path: Path) -> None:
    assert commits(create_sample(tmp_path / "again")) == commits(pristine)


def test_every_file_is_committed_and_nothing_else(pristine: SampleSource) -> None:
    places = {"fate": pristine.fate, "fate-llm": pristine.fate_llm, "ipcl": pristine.ipcl}
    places |= {name: pristine.fate / name for name in SUBMODULES}
    for name, repository in places.items():
        source = FILES / name
        wanted = {
            str(path.relative_to(source))
            for path in source.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        extra = {".gitmodules", *SUBMODULES} if name == "fate" else set()
        assert set(git(repository, "ls-tree", "-r", "--name-only", "HEAD").splitlines()) == wanted | extra
        assert git(repository, "status", "--porcelain") == ""


def test_scripts_are_executable_whatever_the_installation_made_of_them(pristine: SampleSource) -> None:
    modes = {
        line.split("\t")[1]: line.split()[0]
        for line in git(pristine.fate / "eggroll", "ls-tree", "-r", "HEAD").splitlines()
    }
    assert modes["bin/eggroll.sh"] == "100755"
    assert modes["conf/eggroll.properties"] == "100644"


def test_tags_and_branches(pristine: SampleSource) -> None:
    head = git(pristine.fate, "rev-parse", "HEAD")
    assert git(pristine.fate, "rev-parse", "v1.11.2^{commit}") == head
    assert git(pristine.fate, "rev-parse", "develop-1.11.2") == head
    assert git(pristine.fate, "symbolic-ref", "--short", "HEAD") == "master"
    assert git(pristine.fate_llm, "describe", "--tags", "--exact-match") == "v1.2.0"
    assert git(pristine.ipcl, "describe", "--tags", "--exact-match") == "v1.1.3"


def test_submodules_are_at_their_pins(pristine: SampleSource) -> None:
    for name in SUBMODULES:
        pin = git(pristine.fate, "rev-parse", f"HEAD:{name}")
        assert git(pristine.fate / name, "rev-parse", "HEAD") == pin
        origin = pristine.fate.parent / f"{name}.git"
        assert Path(git(pristine.fate / name, "remote", "get-url", "origin")) == origin
        branch = git(pristine.fate, "config", "--file", ".gitmodules", f"submodule.{name}.branch")
        assert git(origin, "rev-parse", f"refs/heads/{branch}") == pin


def test_a_clone_elsewhere_gets_its_submodules(pristine: SampleSource, tmp_path: Path) -> None:
    options = ("-c", "protocol.file.allow=always")
    git(tmp_path, *options, "clone", "--quiet", "--recurse-submodules", str(pristine.fate), "clone")
    assert (tmp_path / "clone" / "fateflow" / "python" / "fate_flow" / "fate_flow_server.py").is_file()


def test_making_it_again_keeps_what_the_user_did(sample: SampleSource) -> None:
    (sample.fate / "RELEASE.md").write_text("mine\n", encoding="utf-8")
    git(sample.fate, "commit", "-am", "mine")
    (sample.fate / "fate.env").write_text("FATE=1.11.3\n", encoding="utf-8")
    before = commits(sample)

    assert create_sample(sample.fate.parent) == sample

    assert commits(sample) == before
    assert (sample.fate / "fate.env").read_text(encoding="utf-8") == "FATE=1.11.3\n"
    assert [path.name for path in sample.fate.parent.parent.iterdir()] == ["sample"]


@pytest.mark.parametrize(
    "lost",
    ["fate/.git", "fate/fateflow", "eggroll.git", "fate-llm/.git/refs/tags/v1.2.0", "fate/.git/modules/eggroll/HEAD"],
)
def test_an_incomplete_sample_is_made_anew(lost: str, sample: SampleSource, pristine: SampleSource) -> None:
    target = sample.fate.parent
    victim = target / lost
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    (sample.fate / "notes.txt").write_text("precious", encoding="utf-8")

    assert commits(create_sample(target)) == commits(pristine)

    # Nothing is thrown away, however broken it is.
    aside = target.with_name("sample.incomplete-1")
    assert (aside / "fate" / "notes.txt").read_text(encoding="utf-8") == "precious"
    assert not (target / "fate" / "notes.txt").exists()


def test_a_lost_object_is_noticed(sample: SampleSource) -> None:
    tree = git(sample.ipcl, "rev-parse", "HEAD:ipcl_python")
    lose_object(sample.ipcl, "HEAD:ipcl_python")
    create_sample(sample.fate.parent)
    assert git(sample.ipcl, "rev-parse", "HEAD:ipcl_python") == tree
    assert git(sample.ipcl, "ls-tree", "--name-only", tree) == "__init__.py"


def test_what_an_interrupted_run_left_does_not_disturb(tmp_path: Path, pristine: SampleSource) -> None:
    left = tmp_path / ".sample.partial" / "fate"
    left.mkdir(parents=True)
    (left / "half").touch()
    assert commits(create_sample(tmp_path / "sample")) == commits(pristine)
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_somebodys_own_fate_is_not_taken_for_a_sample(tmp_path: Path) -> None:
    """`/data/projects`, say: FATE_DIR's default is the folder ``fate`` in it."""
    (tmp_path / "fate").mkdir()
    (tmp_path / "fate" / "precious").touch()
    with pytest.raises(SampleError, match="not a sample: it holds fate"):
        create_sample(tmp_path)
    assert (tmp_path / "fate" / "precious").exists()
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "fate").touch()
    with pytest.raises(SampleError, match="not a sample: it holds fate"):
        create_sample(tmp_path / "file")


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(SampleError, match=r"not a sample: it holds thesis\.tex"):
        create_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SampleError, match="the sample can't be made in"):
        create_sample(tmp_path / "file")


def test_two_processes_at_once_make_one_sample(tmp_path: Path, pristine: SampleSource) -> None:
    with ThreadPoolExecutor(3) as pool:
        sources = set(pool.map(create_sample, [tmp_path / "sample"] * 3))
    assert [commits(source) for source in sources] == [commits(pristine)]
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_the_users_git_configuration_does_not_matter(
    tmp_path: Path, pristine: SampleSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "post-checkout", "pre-push"):
        hook = hooks / name
        hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[user]\n\tname = someone else\n[commit]\n\tgpgsign = true\n[tag]\n\tgpgsign = true\n"
        f"[core]\n\thooksPath = {hooks}\n\tautocrlf = true\n\tattributesFile = {home}/attributes\n"
        f'[url "https://unreachable.invalid/"]\n\tinsteadOf = /\n\tinsteadOf = ../\n'
        f"[init]\n\tdefaultBranch = trunk\n\ttemplateDir = {home}/hooks\n[protocol]\n\tallow = never\n",
        encoding="utf-8",
    )
    (home / "attributes").write_text("* filter=missing text eol=crlf\n", encoding="utf-8")
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "attributes").write_text("* working-tree-encoding=UTF-16\n", encoding="utf-8")
    (home / ".config" / "git" / "ignore").write_text("*\n", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("XDG_CONFIG_HOME", raising=False)
        patch.delenv("GIT_CONFIG_GLOBAL", raising=False)
        patch.setenv("GIT_DIR", str(home / "elsewhere"))
        patch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
        patch.setenv("TZ", "Asia/Shanghai")
        source = create_sample(tmp_path / "sample")
        changed = commit_change(source.fate, "eggroll/BUILD_INFO", "eggroll.version=2.5.2\n", "Next")
    assert git(source.fate, "rev-parse", "v1.11.2^{commit}") == commits(pristine)["fate"]
    assert git(source.fate, "rev-parse", "HEAD") == changed


def test_commit_change_in_fate(sample: SampleSource) -> None:
    before = git(sample.fate, "rev-parse", "HEAD")
    (sample.fate / "RELEASE.md").write_text("staged by the user\n", encoding="utf-8")
    git(sample.fate, "add", "RELEASE.md")

    commit = commit_change(sample.fate, "conf/new/feature.yaml", "on: true\n", "A new file")

    assert git(sample.fate, "rev-parse", "HEAD") == commit
    assert git(sample.fate, "rev-parse", "HEAD^") == before
    assert git(sample.fate, "diff", "--name-only", "HEAD^", "HEAD") == "conf/new/feature.yaml"
    assert git(sample.fate, "show", "HEAD:conf/new/feature.yaml") == "on: true"
    # What is resolved as of the source's date must not change with the day of the test.
    assert git(sample.fate, "show", "--no-patch", "--format=%cI", "HEAD") == "2023-06-02T12:01:00+00:00"
    assert git(sample.fate, "diff", "--name-only", "--cached") == "RELEASE.md"


def test_commit_change_in_a_submodule_moves_the_pin(sample: SampleSource, tmp_path: Path) -> None:
    commit = commit_change(sample.fate, "fateflow/RELEASE.md", "# Release 1.11.2\n", "Flow's next release")

    pin = git(sample.fate, "rev-parse", "HEAD:fateflow")
    assert git(sample.fate, "rev-parse", "HEAD") == commit
    assert git(sample.fate, "diff", "--name-only", "HEAD^", "HEAD") == "fateflow"
    assert git(sample.fate / "fateflow", "rev-parse", "HEAD") == pin
    assert git(sample.fate, "status", "--porcelain") == ""
    # The new pin can be fetched by those who clone.
    assert git(sample.fate.parent / "fateflow.git", "rev-parse", "v1.11.1") == pin
    assert create_sample(sample.fate.parent) == sample
    assert git(sample.fate, "rev-parse", "HEAD") == commit


def test_the_same_changes_give_the_same_commits(sample: SampleSource, tmp_path: Path) -> None:
    other = create_sample(tmp_path / "other")
    changes = [("python/requirements.txt", "click==7.1.2\n"), ("eggroll/data/README.md", "moved\n")]
    ids = [[commit_change(source.fate, *change, "change") for change in changes] for source in (sample, other)]
    assert ids[0] == ids[1]


def test_commit_change_refuses_what_it_cannot_do(sample: SampleSource) -> None:
    unchanged = (sample.fate / "fate.env").read_text(encoding="utf-8")
    with pytest.raises(SampleError, match="nothing to commit"):
        commit_change(sample.fate, "fate.env", unchanged, "nothing")
    for outside in ("../fate-llm/README.md", "/etc/hostname", ".git/config", "."):
        with pytest.raises(SampleError, match="not a file of the repository"):
            commit_change(sample.fate, outside, "x", "outside")
    with pytest.raises(SampleError, match="cannot write"):
        commit_change(sample.fate, "conf", "x", "a folder")


def test_no_file_of_the_sample_is_ignored_by_the_repository_it_lies_in(tmp_path: Path) -> None:
    """The project's own ``.gitignore`` must not swallow a part of the sample."""
    project = FILES.parents[2]
    (tmp_path / ".gitignore").write_text((project / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    files = [path for path in FILES.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    names = [str(path.relative_to(project)) for path in files]
    done = subprocess.run(["git", "check-ignore", "--no-index", *names], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 1)
