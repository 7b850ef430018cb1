"""What is shown of what others wrote."""

from __future__ import annotations

import pytest

from fimg_pipeline.values.masking import redacted, without_credentials


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@host/x",
        "https://secret@host/x",
        "http://u:se/cret@host:1/x y",
        "https://host/x?token=secret",
    ],
)
def test_redacted(url: str) -> None:
    assert "cret" not in redacted(url) and "host" in redacted(url)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("E: http://u:p@ss@h/debian 401", "E: http://***@h/debian 401"),
        ("Get:1 https://tok3n@h:8443/debian x", "Get:1 https://***@h:8443/debian x"),
        (
            "npm http fetch https://registry.npmjs.org/@babel/core",
            "npm http fetch https://registry.npmjs.org/@babel/core",
        ),
        ("numpy @ file:///run/wheels/x.whl", "numpy @ file:///run/wheels/x.whl"),
    ],
)
def test_lines_of_programs_lose_credentials(line: str, shown: str) -> None:
    assert without_credentials(line) == shown
