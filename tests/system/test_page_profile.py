"""The page of a service that answers by a site's profile: it says so beside the outcome, in print, in the table."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from pipeline.serving import profile
from tests.browser_fixture import CHROMIUM, browser, champion, choose, open_page, shoot, write_files
from tests.server_fixture import Server, serve
from tests.serving.test_profile import at, content

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="NOT TESTED: the page; Chromium is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("profiled-page")
    champion(root)
    with pytest.MonkeyPatch.context() as patch:
        at(root, patch)
        estimates = {"before": [0.5, 0.4, 0.6], "after": [0.25, 0.2, 0.3], "change": [-0.25, -0.3, -0.2]}
        version = (root / "models" / "CHAMPION").read_text().strip()
        profile.write(content(version, report={"all": {"log_loss": estimates}}))
    with serve(root, SERVE_PROFILE="a-site", SERVE_OUT_OF_DISTRIBUTION="refuse") as running:
        yield running


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    with browser() as chromium:
        yield open_page(chromium, server.url)


def test_the_page_says_by_which_profile_it_answers(page: Page, server: Server, tmp_path: Path) -> None:
    version = server.get("/model").json()["profile"]["version"]
    files = write_files(tmp_path)
    choose(page, files / "signs.png")
    assert f"by the site profile {version}, fitted on 100 images" in page.inner_text("#caution")
    page.click("#answer summary")
    details = page.inner_text("#details")
    assert f"Site profile\n{version}" in details and "where 0.30 of the images show pneumonia" in details
    page.click("#model summary")
    facts = page.inner_text("#facts")
    assert f"{version}: fitted on 100 images (40 patients without and 50 with pneumonia)" in facts
    assert "log loss 0.50 before, 0.25 after" in facts
    assert "at the champion's own thresholds" in page.inner_text("#metrics caption")
    shoot(page, "profile")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert version in (page.text_content("#sheet-caution") or "")
    with page.expect_download() as saved:
        page.click("#csv")
    (row,) = csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8-sig")))
    assert row["site_profile"] == version and 0 < float(row["probability"]) < 1
