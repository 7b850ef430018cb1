"""Names of images by Docker's grammar, whole as containerd has them."""

from __future__ import annotations

import pytest

from fimg_pipeline.kuscia.reference import ImageNameError, Reference, parse

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


@pytest.mark.parametrize(
    ("text", "repository", "tag"),
    [
        ("mysql", "docker.io/library/mysql", "latest"),
        ("mysql:8.0.28", "docker.io/library/mysql", "8.0.28"),
        ("federatedai/fateflow:1.11.2-release", "docker.io/federatedai/fateflow", "1.11.2-release"),
        ("docker.io/mysql:8", "docker.io/library/mysql", "8"),
        ("index.docker.io/a/b:1", "docker.io/a/b", "1"),
        ("host:5000/a/b:v9", "host:5000/a/b", "v9"),
        ("host:5000/a/b", "host:5000/a/b", "latest"),
        ("reg.io/img:v1", "reg.io/img", "v1"),
        ("localhost/img:v1", "localhost/img", "v1"),
        ("a/b/c:2.0", "docker.io/a/b/c", "2.0"),
        ("10.0.0.5:5000/federatedai/client:1", "10.0.0.5:5000/federatedai/client", "1"),
    ],
)
def test_the_whole_name(text: str, repository: str, tag: str) -> None:
    assert parse(text) == Reference(repository, tag)
    assert parse(str(parse(text))) == parse(text)


def test_an_id_is_no_name() -> None:
    with pytest.raises(ImageNameError, match="is an id"):
        parse(DIGEST)


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("mysql:8", "mysql:8"),
        ("docker.io/a/b:1", "a/b:1"),
        ("reg.io/a:1", "reg.io/a:1"),
        ("docker.io/localhost/a:1", "docker.io/localhost/a:1"),
        ("docker.io/a.b/c:1", "docker.io/a.b/c:1"),
    ],
)
def test_as_the_engine_lists_it(text: str, listed: str) -> None:
    assert parse(text).on_engine == listed


def test_a_digest_goes_with_a_tag() -> None:
    assert parse(f"host:5000/a:1@{DIGEST}") == Reference("host:5000/a", "1", DIGEST)
    with pytest.raises(ImageNameError, match="a digest and no tag"):
        parse(f"host:5000/a@{DIGEST}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be"),
        ("Mysql", "must be"),
        ("a b", "must be"),
        ("a;rm -rf /", "must be"),
        ("a/../b:1", "must be"),
        ("/a:1", "must be"),
        ("a:1:2", "must be"),
        ("a:", "a tag that is none"),
        ("a:-1", "a tag that is none"),
        (f"a:{'1' * 129}", "a tag that is none"),
        ("a:1@sha256:12", "a digest that is none"),
        ("a:1@md5:x", "a digest that is none"),
        ("host:0/a", "has the port 0"),
        ("host:99999/a", "has the port 99999"),
        ("-x.io/a", "begins with"),
        (f"a/{'b' * 300}", "too long"),
    ],
)
def test_what_names_no_image_is_told(text: str, told: str) -> None:
    with pytest.raises(ImageNameError, match=told):
        parse(text)
