"""Which names an AppImage can have."""

from __future__ import annotations

import pytest

from fimg_pipeline.kuscia.names import AppImageNameError, checked_name


@pytest.mark.parametrize("name", ["secretflow-image", "a", "fate.client-1.11.2", "0", "a" * 253])
def test_what_kubernetes_takes(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", "a+b", "a/b", "a b", "a\n", "ä", "a" * 254])
def test_what_it_refuses_is_named_and_not_changed(name: str) -> None:
    with pytest.raises(AppImageNameError):
        checked_name(name)
