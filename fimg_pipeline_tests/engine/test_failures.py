"""Telling failures that can pass from those that come again, and finding the line that says why."""

from __future__ import annotations

import pytest

from fimg_pipeline.engine.failures import BuildError, TransientBuildError, build_failure, first_error_line

TRANSIENT = [
    "#5 3.2 E: Failed to fetch http://deb.debian.org/x.deb  Connection timed out",
    "#5 1.0 Temporary failure resolving 'deb.debian.org'",
    "#7 9.9 pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.",
    "#7 9.9 npm ERR! code ECONNRESET",
    "#7 9.9 [ERROR] Could not transfer artifact: Connection reset",
    "#7 9.9 ERROR: HTTP error 503 while getting https://files.example/x.whl",
    "#7 9.9 curl: (6) Could not resolve host: mirror.example",
    "#7 9.9 [ERROR] Could not transfer artifact a:b:pom:1 from/to mirror: mirror.example: Name or service not known",
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
]
DEFINITIVE = [
    "#5 3.2 E: Unable to locate package foo",
    "#7 9.9 ERROR: No matching distribution found for foo==9",
    "#7 9.9 [ERROR] Could not resolve dependencies for project a:b:jar:1: Could not find artifact c:d:jar:2",
    "#9 1.0 RollupError: Could not resolve './missing.vue' from src/main.ts",
    "#9 1.0 SyntaxError: invalid syntax",
    "#9 1.0 SyntaxError: unexpected EOF while parsing",
    "#9 1.0 [FATAL] Non-parseable POM pom.xml: Premature end of file",
    "#9 1.0 AssertionError: expected status 500 got 400",
    "#9 1.0 npm ERR! 404 Not Found - GET https://registry.example/hmac_sha1",
]


@pytest.mark.parametrize("line", TRANSIENT)
def test_what_can_pass(line: str) -> None:
    error = build_failure("x", 1, ["#1 first", line, "executor failed running [/bin/sh]: exit code: 100"])
    assert isinstance(error, TransientBuildError) and error.transient


@pytest.mark.parametrize("line", DEFINITIVE)
def test_what_comes_again(line: str) -> None:
    error = build_failure("x", 1, ["#1 first", line, "#9 ERROR: executor failed running [/bin/sh]: exit code: 1"])
    assert isinstance(error, BuildError) and not error.transient
    assert line.split(" ", 2)[2] in error.message.splitlines()[0]


@pytest.mark.parametrize(
    "log",
    [
        ["#9 1.0 [ERROR] COMPILATION ERROR : ", "#9 1.1 [ERROR] cannot find symbol class ConnectTimeoutException"],
        ["#9 1.0 WARN: Retrying after connection reset", "#9 5.0 [ERROR] COMPILATION ERROR : "],
        ["#9 1.0 AssertionError: expected 'Too Many Requests'"],
    ],
)
def test_what_only_speaks_of_networks_comes_again(log: list[str]) -> None:
    assert isinstance(build_failure("x", 1, [*log, "executor failed running [/bin/sh]: exit code: 1"]), BuildError)


def test_the_reason_is_found_above_buildkits_repetition() -> None:
    log = ["#8 0.4 /bin/sh: 1: maven: not found", "#8 ERROR: executor failed running [maven]: exit code: 127"]
    assert first_error_line(log) == "/bin/sh: 1: maven: not found"


def test_what_a_recipe_only_says_is_no_reason() -> None:
    log = ["#9 1.0 fimg: resolving as of 2023-05-31", "#9 2.0 fimg: error: it can't be resolved", "#9 2.1 and so on"]
    assert first_error_line(log) == "fimg: error: it can't be resolved"


def test_the_reason_goes_on_where_it_names_what_is_wrong() -> None:
    log = [
        "#9 9.1 fimg: error: FATE's requirements can't be resolved with PyPI:   × No solution found when resolving:",
        "#9 9.1   ╰─▶ Because there is no version of requests==99.99 and you require requests==99.99, we can conclude",
        "#9 9.1       that your requirements are unsatisfiable.",
    ]
    assert first_error_line(log).endswith(
        "resolving: Because there is no version of requests==99.99 and you require requests==99.99, we can conclude"
    )
    dead = [
        "#9 9.1 error: Request failed after 5 retries in 37.7s",
        "#9 9.1   Caused by: Failed to fetch: `http://127.0.0.1:1/simple/pip/`",
        "#9 9.1   Caused by: tcp connect error",
        "#9 9.2 and so on",
    ]
    assert first_error_line(dead) == (
        "error: Request failed after 5 retries in 37.7s Caused by: Failed to fetch: `http://127.0.0.1:1/simple/pip/` "
        "Caused by: tcp connect error"
    )


def test_causes_as_uv_says_them_today() -> None:
    log = [
        "#7 2.1 fimg: error: FATE's requirements can't be resolved with PyPI: error: No solution found",
        "#7 2.1   cause: Because datasets==2.11.0 depends on pyarrow>=8.0.0 and pyarrow==6.0.1, it cannot be used.",
        "#7 2.2 and so on",
    ]
    assert first_error_line(log).endswith("pyarrow==6.0.1, it cannot be used.")


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (["#9 1 error: Failed to install: x.whl", "#9 1   cause: copy: No space left on device (os error 28)"], "full"),
        (["#12 ERROR: failed to prepare 1zlfa4: open /var/lib/x/committed: no such file or directory"], "damaged"),
    ],
)
def test_what_the_engines_owner_has_to_mend(lines: list[str], hint: str) -> None:
    error = build_failure("x", 1, [*lines, "executor failed running [/bin/sh]: exit code: 1"])
    assert isinstance(error, BuildError) and hint in (error.hint or "") and "docker builder prune" in (error.hint or "")


def test_no_output() -> None:
    assert first_error_line([]) == "no output"


def test_a_killed_client_may_pass() -> None:
    error = build_failure("nginx", -9, ["#3 sha256:" + "a" * 64])
    assert error.transient and "killed by signal 9" in error.message


def test_the_engines_own_reason_is_not_lost() -> None:
    line = "ERROR: executor failed running [/bin/sh -c x]: failed to create endpoint abc on network bridge"
    error = build_failure("x", 1, ["#5 sha256:" + "a" * 64, f"#5 {line}"])
    assert error.transient and line in error.message.splitlines()[0]
