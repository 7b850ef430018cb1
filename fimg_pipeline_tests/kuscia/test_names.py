"""Which names an AppImage can have."""

from __future__ import annotations

import pytest

from fimg_pipeline.kuscia.names import AppImageNameError, checked_name, generated_name
from fimg_pipeline.kuscia.reference import parse


@pytest.mark.parametrize("name", ["secretflow-image", "a", "fate.client-1.11.2", "0", "a" * 253])
def test_what_kubernetes_takes(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", "a+b", "a/b", "a b", "a\n", "ä", "a" * 254])
def test_what_it_refuses_is_named_and_not_changed(name: str) -> None:
    with pytest.raises(AppImageNameError):
        checked_name(name)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("registry.example/secretflow/secretflow-lite-anolis8:latest", "secretflow-lite-anolis8-latest"),
        ("host:5000/a/fate_client:1.11.2_Release", "fate-client-1-11-2-release"),
        ("mysql", "mysql-latest"),
        ("a/b:1.", "b-1"),
        ("a/b:V__--", "b-v"),
    ],
)
def test_the_name_of_an_image(image: str, name: str) -> None:
    assert checked_name(generated_name(parse(image))) == name


def test_names_that_are_too_long_are_cut_and_differ() -> None:
    names = {generated_name(parse(f"a/{'b' * 70}:{tag}")) for tag in ("1", "2", "x" * 128)}
    assert len(names) == 3
    assert all(len(checked_name(name)) == 63 for name in names)
