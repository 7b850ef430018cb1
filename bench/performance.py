"""docs/performance.md: parts of it that are written by measurements, between marks of their own."""

from __future__ import annotations

import re
from pathlib import Path

REPORT = Path(__file__).parent.parent / "docs" / "performance.md"


def renew(script: str, text: str) -> None:
    """Puts ``text`` in the place of what ``script`` wrote before, or at the end."""
    begin, end = f"<!-- written by {script} -->", f"<!-- end of {script} -->"
    part = f"{begin}\n{text.strip()}\n{end}"
    there = REPORT.read_text()
    if begin in there:
        there = re.sub(f"{begin}.*{end}", lambda _: part, there, flags=re.DOTALL)
    else:
        there = f"{there.rstrip()}\n\n{part}\n"
    REPORT.write_text(there)
    print(text)
