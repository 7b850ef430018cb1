"""A real browser: Debian's Chromium, headless, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from fimg_pipeline_tests.rig.machine import require_command

#: What Chromium does by itself (updates, lookups of its maker's hosts) is of no use to a test.
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def page() -> Iterator[Page]:
    """One empty page; the browser ends with the block."""
    require_command("chromium", "chromium", purpose="a browser test")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(_QUIET))
        try:
            yield browser.new_page(viewport={"width": 1500, "height": 950})
        finally:
            browser.close()
