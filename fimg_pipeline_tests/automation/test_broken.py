"""Who is told what, by how runs ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fimg_pipeline.automation.broken import Broken, Finished, Message, after

UI = "http://ui:3000"
WHERE = "amd64|nightly"


def run(
    number: int,
    *made: str,
    partition: str = WHERE,
    job: str = "build",
    killed: bool = False,
    brings: str = "",
    failed: Mapping[str, str] | None = None,
    **more: str,
) -> Finished:
    """``failed`` and ``more``: what failed, with why."""
    failed = {**(failed or {}), **more}
    return Finished(
        str(number), partition, job, failed, frozenset(made), not failed and not killed, commit="c" * 12, brings=brings
    )


def look(broken: Mapping[str, Broken], *runs: Finished) -> tuple[dict[str, Broken], list[Message]]:
    return after(broken, runs, UI)


def titles(messages: Iterable[Message]) -> list[str]:
    return [message.title for message in messages]


def test_one_message_when_it_breaks_and_one_when_it_works_again() -> None:
    broken, messages = look({}, run(1, "eggroll", nginx="E: no such package", brings="abc A note (somebody)"))
    assert messages == [
        Message(
            title="fimg: nightly for amd64 is broken",
            body=f"nginx: E: no such package\nwith abc A note (somebody)\n{UI}/runs/1",
            about=(WHERE,),
        )
    ]
    broken, messages = look(broken, run(2, nginx="again"), run(3, nginx="and again"))
    assert messages == [] and broken[WHERE].run == "1" and broken[WHERE].failed == {"nginx": "and again"}
    broken, messages = look(broken, run(4, "nginx"))
    works = Message(title="fimg: nightly for amd64 works again", body=f"{UI}/runs/4", about=(WHERE,), works=True)
    assert broken == {} and messages == [works]
    assert look(broken, run(5, "nginx")) == ({}, [])


def test_it_works_again_when_all_that_failed_was_made() -> None:
    broken, _ = look({}, run(1, nginx="no", eggroll="no"))
    broken, messages = look(broken, run(2, "nginx"))
    assert messages == [] and broken[WHERE].failed == {"eggroll": "no"}
    # A push that succeeds says nothing of a build that does not.
    broken, messages = look(broken, run(3, "registry images", job="publish"))
    assert messages == [] and WHERE in broken
    assert titles(look(broken, run(4, "eggroll"))[1]) == ["fimg: nightly for amd64 works again"]


def test_what_fails_in_another_run_of_a_broken_one_is_silent_but_known() -> None:
    broken, _ = look({}, run(1, nginx="no"))
    broken, messages = look(broken, run(2, job="publish", failed={"registry images": "401"}))
    assert messages == [] and set(broken[WHERE].failed) == {"nginx", "registry images"}
    broken, messages = look(broken, run(3, "nginx"))
    assert messages == []
    assert titles(look(broken, run(4, "registry images", job="publish"))[1]) == ["fimg: nightly for amd64 works again"]


def test_a_run_that_was_killed_is_mended_by_one_of_its_job() -> None:
    broken, messages = look({}, run(1, killed=True))
    assert messages[0].body.startswith("job build: the run failed; its page says why\n")
    broken, messages = look(broken, run(2, "registry images", job="publish"))
    assert messages == []
    assert titles(look(broken, run(3, "eggroll"))[1]) == ["fimg: nightly for amd64 works again"]


def test_what_failed_in_a_run_that_went_well_is_told() -> None:
    """A bundle that no engine loads."""
    refused = replace(run(1, job="bundle", failed={"bundle fate": "nginx has another id"}), succeeded=True)
    broken, messages = look({}, refused)
    assert titles(messages) == ["fimg: nightly for amd64 is broken"]
    assert titles(look(broken, run(2, "bundle fate", job="bundle"))[1]) == ["fimg: nightly for amd64 works again"]


def test_partitions_are_told_of_each_for_itself_and_those_of_tags_too() -> None:
    lists = run(2, partition="1.11.2-release", job="publish_lists", failed={"registry lists": "no"})
    broken, messages = look({}, run(1, nginx="no"), run(3, partition="arm64|nightly", nginx="no"), lists)
    assert titles(messages) == [
        "fimg: nightly for amd64 is broken",
        "fimg: nightly for arm64 is broken",
        "fimg: 1.11.2-release is broken",
    ]
    assert titles(look(broken, run(4, "nginx"))[1]) == ["fimg: nightly for amd64 works again"]


def test_of_what_broke_and_was_mended_between_two_looks_nobody_is_told() -> None:
    assert look({}, run(1, nginx="no"), run(2, "nginx")) == ({}, [])


def test_what_has_one_cause_is_one_message() -> None:
    """When FATE can't be read, or an engine is away, of two hundred tags."""
    stuck = [
        replace(run(0, partition=where, failed={"what it is built from": why}), run_id="", commit="")
        for where, why in (("amd64|a", "gone"), ("arm64|a", "gone"), ("amd64|b", "gone"), ("amd64|c", "damaged"))
    ]
    broken, messages = look({}, *stuck)
    assert titles(messages) == ["fimg: a for amd64 and 2 more are broken", "fimg: c for amd64 is broken"]
    assert messages[0].body.splitlines() == [
        "what it is built from: gone",
        "a for amd64, a for arm64, b for amd64",
        f"{UI}/assets/overview",
    ]
    assert messages[0].about == ("amd64|a", "arm64|a", "amd64|b")
    broken, messages = after(broken, [], UI, {where: ["what it is built from"] for where in broken})
    assert broken == {} and titles(messages) == ["fimg: a for amd64 and 3 more work again"]


def test_that_a_branch_is_gone_is_one_message_whatever_tags_follow_it() -> None:
    stuck = [
        replace(
            run(0, partition=f"amd64|{tag}", failed={"source": f"TAG={tag} stands for origin/dev: gone"}), run_id=""
        )
        for tag in ("a", "b")
    ]
    assert titles(look({}, *stuck)[1]) == ["fimg: a for amd64 and 1 more are broken"]


def test_what_failed_by_the_same_is_one_line() -> None:
    (message,) = look({}, run(1, failed={"nginx": "killed", "eggroll": "no", "fateflow": "killed"}))[1]
    assert message.body.splitlines()[:2] == ["nginx, fateflow: killed", "eggroll: no"]


def test_messages_end_somewhere() -> None:
    (message,) = look({}, run(1, failed={f"image-{number}": f"no {number}" for number in range(9)}))[1]
    assert message.body.splitlines()[5:] == ["and 4 more", "with cccccccccccc", f"{UI}/runs/1"]


def test_what_was_taken_back_works_again_though_no_run_made_it() -> None:
    broken, _ = look({}, run(1, nginx="no", eggroll="no"))
    broken, messages = after(broken, [], UI, {WHERE: ["eggroll"]})
    assert messages == [] and broken[WHERE].failed == {"nginx": "no"}
    broken, messages = after(broken, [], UI, {WHERE: ["nginx"], "arm64|nightly": ["nginx"]})
    assert broken == {} and titles(messages) == ["fimg: nightly for amd64 works again"]
    # And what breaks next is told.
    assert titles(look(broken, run(2, nginx="no"))[1]) == ["fimg: nightly for amd64 is broken"]


def test_what_is_as_it_should_be_is_not_broken_by_who_makes_it_again_in_vain() -> None:
    broken, _ = look({}, run(1, nginx="no"))
    assert after({}, [run(2, nginx="no")], UI, {WHERE: ["nginx"]}) == ({}, [])
    broken, messages = after(broken, [run(2, nginx="no")], UI, {WHERE: ["nginx"]})
    assert broken == {} and titles(messages) == ["fimg: nightly for amd64 works again"]
    # Whose page would say the contrary.
    assert "/runs/" not in messages[0].body


def test_a_message_is_short_enough_for_every_service() -> None:
    """WeCom takes 2048 bytes, title and all, and says 200 to what it does not take."""
    long = {f"package {name}": f"{name} {'错' * 500}" for name in ("osx", "eggroll", "proxy", "fate", "flow", "board")}
    (message,) = look({}, run(1, failed=long, brings="x" * 400))[1]
    assert len(f"{message.title}{message.body}".encode()) < 2000
    assert message.body.startswith("package osx: osx 错错") and message.body.endswith(f"\n{UI}/runs/1")
    assert "and 1 more" in message.body
    many = [run(2, partition=f"amd64|{number:03}-release", nginx="no") for number in range(200)]
    (message,) = look({}, *many)[1]
    assert len(f"{message.title}{message.body}".encode()) < 2000 and "199 more are broken" in message.title
    assert len(message.about) == 200
