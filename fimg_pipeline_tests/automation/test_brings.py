"""Which commits a run is said to bring."""

from __future__ import annotations

import re
from pathlib import Path

from fimg_pipeline.progress import Event
from fimg_pipeline.sample import SampleSource, commit_change
from fimg_pipeline_tests.automation.handmade import Handmade, brought, run_of, selected
from fimg_pipeline_tests.source.repositories import git


def test_what_a_run_brings_is_told(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    start = git(sample.fate, "rev-parse", "HEAD")
    for number in range(1, 6):
        commit_change(sample.fate, "c/proxy/conf/note.conf", f"# {number}\n", f"Note {number}")
        told = brought(watched.look()["t"])
        assert told.startswith(f"{git(sample.fate, 'rev-parse', 'HEAD')[:12]} Note {number} (")
        assert told.count(" Note ") == min(number, 3)
    assert told.endswith("; and 2 more")
    watched.build()
    git(sample.fate, "reset", "-q", "--hard", start)
    watched.made = []
    assert brought(watched.look()["t"]) == f"back to {start[:12]}"


def test_what_earlier_runs_were_to_bring_and_did_not_is_told_again(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    # Another, of which nothing failed: it is not told.
    commit_change(sample.fate, "README.md", "# hello\n", "Nothing to build")
    watched.build()
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# broken\n", "Broken")
    first = watched.look()["t"].request
    assert first is not None
    run_of(watched, first, Event("image", "nginx", "failed"), source=True)
    told = brought(watched.look()["t"])
    assert " Broken (" in told and "Nothing to build" not in told
    # What comes in between, and builds, is of another package.
    commit_change(sample.fate, "fateboard/pom.xml", "<project/>\n", "Another pom")
    between = watched.look()["t"].request
    assert between is not None
    run_of(watched, between._replace(asset_selection=[]), source=True)
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# mended\n", "Mended")
    told = brought(watched.look()["t"])
    assert " Mended (" in told and " Broken (" in told and "Nothing to build" not in told
    assert first.tags["fimg/brings"] in told
    watched.build()
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# more\n", "More")
    assert " Mended (" not in brought(watched.look()["t"])


def test_what_a_package_brought_whose_image_failed_is_told_again(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    fate = commit_change(sample.fate, "fateflow/python/note.py", "# hello\n", "A note in FATE Flow")
    first = watched.look()["t"].request
    assert first is not None and "; fateflow: " in first.tags["fimg/brings"]
    run_of(watched, first, Event("package", "fateflow", "built"), Event("image", "fateflow", "failed"), source=True)
    plan = watched.plan(watched.settings())
    watched.made.append(plan.package("fateflow"))
    watched.recorded(plan.package("fateflow"), plan)
    again = watched.look()["t"]
    assert "package/fateflow" not in selected(again) and fate[:12] in brought(again)
    assert brought(again) == first.tags["fimg/brings"]


def test_where_the_history_is_cut_that_is_told(sample: SampleSource, tmp_path: Path, watched: Handmade) -> None:
    watched.build()
    start = git(sample.fate, "rev-parse", "HEAD")
    for number in range(3):
        commit_change(sample.fate, "c/proxy/conf/note.conf", f"# {number}\n", f"Note {number}")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{sample.fate}", "shallow")
    watched.environ["FATE_DIR"] = str(tmp_path / "shallow")
    told = brought(watched.look()["t"])
    assert " Note 2 (" in told and " Note 1 (" not in told
    assert told.endswith(f"; and perhaps others since {start[:12]}: the history here is cut")


def test_a_commit_that_is_gone_is_no_cut_of_the_history(
    sample: SampleSource, tmp_path: Path, watched: Handmade
) -> None:
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# one\n", "One")
    watched.build()
    gone = git(sample.fate, "rev-parse", "HEAD")
    git(sample.fate, "reset", "-q", "--hard", "HEAD~1")
    commit_change(sample.fate, "c/proxy/conf/note.conf", "# another\n", "Another")
    git(tmp_path, "clone", "-q", f"file://{sample.fate}", "anew")
    watched.environ["FATE_DIR"] = str(tmp_path / "anew")
    told = brought(watched.look()["t"])
    assert " Another (" in told
    assert told.endswith(f"; {gone[:12]}, of which the last build was, is not known here any more")


def test_what_a_run_brings_can_be_looked_at(sample: SampleSource, watched: Handmade) -> None:
    git(sample.fate, "remote", "add", "origin", "https://github.com/FederatedAI/FATE.git")
    watched.build()
    before = git(sample.fate, "rev-parse", "HEAD")
    now = commit_change(sample.fate, "c/proxy/conf/note.conf", "# hello\n", "A note " * 100)
    request = watched.look()["t"].request
    assert request is not None and len(request.tags["fimg/brings"]) < 160
    assert request.tags["fimg/compare"] == f"https://github.com/FederatedAI/FATE/compare/{before}...{now}"


def test_commits_of_other_repositories_are_told_too(sample: SampleSource, watched: Handmade) -> None:
    branch = git(sample.fate_llm, "symbolic-ref", "--short", "HEAD")
    watched.environ |= {"Build_GPU": "1", "Build_LLM": "1", "Build_LLM_VERSION": branch}
    watched.environ["FATE_LLM_URL"] = str(sample.fate_llm)
    watched.build()
    llm = commit_change(sample.fate_llm, "python/note.py", "# hello\n", "A note in FATE-LLM")
    author = git(sample.fate_llm, "log", "-1", "--format=%an")
    told = f"changed: package fate_llm; changed: parent; fate_llm: {llm[:12]} A note in FATE-LLM ({author})"
    assert brought(watched.look()["t"]) == told
    fate = commit_change(sample.fate, "fateflow/python/note.py", "# hello\n", "A note in FATE Flow")
    flow = git(sample.fate, "rev-parse", "HEAD:fateflow")
    assert re.fullmatch(
        rf"{fate[:12]} .*; fateflow: {flow[:12]} A note in FATE Flow \(.*\); fate_llm: {llm[:12]} .*",
        brought(watched.look()["t"]),
    )


def test_what_somebody_else_wrote_is_shown_as_a_line_that_ends(sample: SampleSource, watched: Handmade) -> None:
    watched.build()
    (sample.fate / "c/proxy/conf/note.conf").write_text("# hello\n")
    author = ("-c", f"user.name={'x' * 3000}", "-c", "user.email=x@example.org")
    git(sample.fate, "add", "--all")
    git(sample.fate, *author, "commit", "-q", "-m", "\x1b[31mred\x1b[0m \x07bell")
    request = watched.look()["t"].request
    assert request is not None
    assert re.fullmatch(r"[0-9a-f]{12} red bell \(x{38} …\)", request.tags["fimg/brings"])
