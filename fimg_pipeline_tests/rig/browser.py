"""A real browser: Debian's Chromium, headless, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect, sync_playwright

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
#: So long (milliseconds) a page may take to show something: parts of it are only fetched for it.
SOON = 60_000


@contextmanager
def page() -> Iterator[Page]:
    """One empty page; the browser ends with the block."""
    require_command("chromium", "chromium", purpose="a browser test")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(_QUIET))
        try:
            found = browser.new_page(viewport={"width": 1500, "height": 950})
            found.set_default_timeout(SOON)
            expect.set_options(timeout=SOON)
            yield found
        finally:
            browser.close()
