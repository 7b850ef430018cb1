"""Comparing AppImages: what a server added is no difference, what it changed is."""

from __future__ import annotations

from typing import Any

import pytest

from fimg_pipeline.kuscia.api import differences


@pytest.mark.parametrize(
    ("wanted", "found", "paths"),
    [
        ({"a": 1}, {"a": 1, "state": {}}, []),
        ({"spec": {"image": {"tag": "1"}}}, {"spec": {"image": {"tag": "2"}}}, ["spec.image.tag"]),
        ({"ports": [{"name": "a"}]}, {"ports": [{"name": "a", "scope": "Local"}]}, []),
        ({"ports": [{"name": "a"}]}, {"ports": [{"name": "a"}, {"name": "b"}]}, ["ports"]),
        ({"ports": [{"name": "a"}]}, {"ports": [{"name": "b"}]}, ["ports[0].name"]),
        ({"spec": {"a": 1}}, {}, ["spec"]),
        ({"a": "2.0"}, {"a": 2.0}, ["a"]),
    ],
)
def test_differences(wanted: Any, found: Any, paths: list[str]) -> None:
    assert differences(wanted, found) == paths
