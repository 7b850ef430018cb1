"""What people do in the web UI, in a real browser: choose an image and a partition, launch it, see how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from fimg_pipeline.engine.client import Engine
from fimg_pipeline_tests.rig.browser import page
from fimg_pipeline_tests.rig.command import Fimg
from fimg_pipeline_tests.rig.demo import broken, reference
from fimg_pipeline_tests.rig.web import ask, web_ui

pytestmark = pytest.mark.engine

#: So long (milliseconds) a run may take.
BUILT = 300_000


@pytest.fixture(scope="module")
def browser(fimg: Fimg) -> Iterator[Page]:
    fimg.succeeds("build", "--image", "nginx")
    with web_ui(fimg) as (address, _), page() as found:
        ask(address, "{ version }")
        found.goto(address)
        yield found


def launch(browser: Page, image: str, platform: str) -> None:
    """From the image's page to the page of the run."""
    address = "/".join(browser.url.split("/")[:3])
    browser.goto(f"{address}/assets/{image}")
    browser.get_by_role("button", name="Materialize").first.click()
    dialog = browser.get_by_role("dialog")
    sure = dialog.get_by_role("button", name="Confirm")
    expect(sure.or_(dialog.get_by_text("Partition selection"))).to_be_visible()
    if sure.is_visible():
        # What it stands on was not built from here yet.
        sure.click()
    for value in (platform, "demo"):
        dialog.get_by_text("Select a partition or create one").first.click()
        browser.get_by_text(value, exact=True).filter(visible=True).last.click()
        dialog.get_by_text("Launch runs to materialize").click()
    dialog.get_by_role("button", name="Launch").last.click()
    browser.get_by_text("View", exact=True).click()
    browser.wait_for_url("**/runs/*")


def test_how_all_stands_and_what_the_command_ran_is_there_from_the_start(browser: Page) -> None:
    address = "/".join(browser.url.split("/")[:3])
    browser.goto(f"{address}/assets/overview")
    for told in ("What is here", re.compile(r"\b[1-9]\d* built\b")):
        expect(browser.get_by_text(told).first).to_be_visible()
    browser.goto(f"{address}/locations/fimg/jobs/build/runs")
    expect(browser.get_by_text("amd64|demo").first).to_be_visible()


def test_an_image_is_materialized_and_seen_green(browser: Page, engine: Engine) -> None:
    engine.remove(reference("nginx"))
    launch(browser, "nginx", "amd64")
    expect(browser.get_by_text("Success", exact=True).first).to_be_visible(timeout=BUILT)
    assert engine.inspect(reference("nginx")) is not None
    address = "/".join(browser.url.split("/")[:3])
    browser.goto(f"{address}/assets/nginx")
    for told in ("Proxy between the parties' FATE Flow", "amd64|demo", reference("nginx"), "size_mb"):
        expect(browser.get_by_text(told).first).to_be_visible()
    browser.goto(f"{address}/assets/nginx?view=checks")
    for check in ("architecture_is_the_platforms", "its_program_answers", "size_did_not_jump"):
        expect(browser.get_by_text(check).first).to_be_visible()
    expect(browser.get_by_text("Succeeded")).to_have_count(3)


def test_what_a_platform_can_not_have_says_so_at_once(browser: Page) -> None:
    launch(browser, "fateflow-nn", "arm64")
    expect(browser.get_by_text("Failure", exact=True).first).to_be_visible(timeout=BUILT)
    expect(
        browser.get_by_text("fateflow-nn can't be built for arm64: data.pyg.org has no builds").first
    ).to_be_visible()


def test_a_run_that_failed_says_why_where_one_looks_first(browser: Page, fimg: Fimg) -> None:
    with broken(fimg, "c/proxy/conf/nginx.conf", "worker_procesess 1;\n"):
        fimg("build", "--image", "nginx")
        launch(browser, "nginx", "amd64")
        expect(browser.get_by_text("Failure", exact=True).first).to_be_visible(timeout=BUILT)
        expect(browser.get_by_text('unknown directive "worker_procesess"').first).to_be_visible()
        expect(browser.get_by_text("DagsterAssetCheckFailedError")).to_have_count(0)
