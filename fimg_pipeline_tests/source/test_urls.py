"""URLs of repositories: which git may use, and what people are shown of them."""

from __future__ import annotations

import pytest

from fimg_pipeline.source.urls import is_safe, joined, public_url, web_page

PAGE = "https://github.com/FederatedAI/FATE"


@pytest.mark.parametrize(
    ("url", "location", "page"),
    [
        (f"{PAGE}.git", f"{PAGE}.git", PAGE),
        (f"{PAGE}/", f"{PAGE}/", PAGE),
        ("https://me:token@github.com/FederatedAI/FATE.git", f"{PAGE}.git", PAGE),
        ("https://token@github.com/FederatedAI/FATE", PAGE, PAGE),
        ("git@github.com:FederatedAI/FATE.git", "ssh://github.com/FederatedAI/FATE.git", PAGE),
        ("github.com:FederatedAI/FATE.git", "ssh://github.com/FederatedAI/FATE.git", PAGE),
        ("work:FederatedAI/FATE.git", "", None),
        ("ssh://git@github.com/FederatedAI/FATE.git", "ssh://github.com/FederatedAI/FATE.git", PAGE),
        ("ssh://git@git.example:2222/FATE.git", "ssh://git.example:2222/FATE.git", None),
        ("http://10.0.0.5/FATE.git", "http://10.0.0.5/FATE.git", None),
        ("https://user:p@ss@host.example/x.git", "https://host.example/x.git", "https://host.example/x"),
        ("https://user:pa/ss@host.example/x", "https://host.example/x", "https://host.example/x"),
        ("https://host.example/x?private_token=SECRET", "https://host.example/x", "https://host.example/x"),
        ("oauth2:TOKEN@host.example:x.git", "", None),
        ("jane.doe:TOKEN@host.example/x.git", "", None),
        ("host.example:x?private_token=SECRET", "", None),
        ("../fate.git", "", None),
        ("/data/projects/fate", "", None),
        ("file:///data/projects/fate", "", None),
    ],
)
def test_what_is_shown_of_a_url(url: str, location: str, page: str | None) -> None:
    assert public_url(url) == location
    assert web_page(location) == page


@pytest.mark.parametrize("url", ["git@host.example:x.git", "work:fate.git", "https://h/a", "/src/fate"])
def test_what_git_may_use(url: str) -> None:
    assert is_safe(url)


@pytest.mark.parametrize(
    "url",
    [
        "../x",
        "me.too:SECRET@h/x",
        "h:\x07a",
        "ext::sh -c x",
        "-u",
        "-o@host:x",
        "me@-o:x",
        "-o:x",
        "fd::3",
        "https://h/a b",
        "ftp://h/x",
        "",
    ],
)
def test_what_git_may_not_use(url: str) -> None:
    assert not is_safe(url)


@pytest.mark.parametrize(
    ("origin", "relative", "absolute"),
    [
        (f"{PAGE}.git", "../eggroll.git", "https://github.com/FederatedAI/eggroll.git"),
        ("/src/fate", "./sub", "/src/fate/sub"),
    ],
)
def test_relative_urls(origin: str, relative: str, absolute: str) -> None:
    assert joined(origin, relative) == absolute
