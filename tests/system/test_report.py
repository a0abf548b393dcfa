"""The report: one page that needs nothing else, read in a real browser; the cards; and the checklist."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import example
from tests.browser_fixture import CHROMIUM, browser
from tests.candidate_fixture import RUN, command
from tests.explain_fixture import explained, write_settings

HOME = Path(__file__).resolve().parents[2]
WRITTEN = ("reports/", "docs/model-card.md", "docs/data-card.md", "metrics/", "plots/", "dvc.lock")  # by stages


@pytest.fixture(scope="module")
def root():
    root = explained()
    done = command(root, "pipeline.stages.report")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def html(root):
    return (root / "reports" / "index.html").read_text(encoding="utf-8")


def test_generated_pictures_are_named_as_such_everywhere(root, html):
    assert "No figure here says anything about children" in html
    assert "<title>Generated radiographs" in html
    for card in ("model-card.md", "data-card.md"):
        assert "**Generated radiographs.**" in (root / "docs" / card).read_text()


def test_the_page_asks_nobody_for_anything(html):
    assert re.findall(r"""(?:src|href)="(?!data:|#)([^"]*)""", html) == []
    assert "<script" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_every_section_has_its_content(root, html):
    for heading in ("question", "data", "tables", "curves", "seeing", "failing", "limits", "again"):
        assert f'id="{heading}"' in html
    wrong = read_table(root / "reports" / "explain" / "gallery" / "gallery.csv")
    gallery = html[html.index('id="failing"') : html.index('id="limits"')]
    assert gallery.count("<img") == len(wrong)
    for row in wrong:
        assert row["patient"] in gallery
    assert html.count('class="check') == 1 + len(("randomisation", "masking", "border"))
    assert f"The answer in short: {RUN}" in html


def test_what_is_not_there_yet_is_said_plainly(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "params.yaml").write_bytes((HOME / "params.yaml").read_bytes())
    write_settings(tmp_path)
    done = command(tmp_path, "pipeline.stages.report")
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "reports" / "index.html").read_text()
    for words in ("No run has been compared yet", "The manifest is not at hand", "have not been looked into yet"):
        assert words in html
    assert "There is no packaged candidate yet" in (tmp_path / "docs" / "model-card.md").read_text()
    (tmp_path / "data" / "dataset.json").unlink()
    done = command(tmp_path, "pipeline.stages.report")
    assert done.returncode == 1
    assert "data/dataset.json is missing; run ingest first" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(
    not CHROMIUM, reason="CHROMIUM IS NOT INSTALLED: the report's page is not looked at (apt-get install chromium)"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(root, scheme):
    with browser() as page:
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for width in (375, 1440):
            page.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
            )
            page.open((root / "reports" / "index.html").as_uri())
            page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.run("document.images.length") > 10
            assert page.run("[...document.images].filter(one => !one.naturalWidth).map(one => one.alt)") == []
            assert page.run("document.documentElement.scrollWidth") <= width
            # What is wider than its box must lie in one that scrolls.
            too_wide = (
                "[...document.querySelectorAll('body *')].filter(one => !one.closest('.wide') &&"
                " one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"
            )
            assert page.run(too_wide) == []
        ground = page.run("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
        assert light == (scheme == "light")
        assert page.complaints == []
        assert {url.split(":")[0] for url in page.requests} <= {"file", "data"}


def test_only_generated_pictures_become_an_example(root, tmp_path):
    workspace = tmp_path / "workspace"
    shutil.copytree(root / "reports", workspace / "reports")
    with pytest.raises(ProjectError, match="dataset.json is missing"):
        example.copy(workspace, tmp_path / "example")
    (workspace / "reports" / "figures").mkdir(exist_ok=True)
    for name in ("samples_normal", "samples_pneumonia"):
        Image.new("L", (40, 40), 90).save(workspace / "reports" / "figures" / f"{name}.png")
    (workspace / "data").mkdir()
    dataset = json.loads((root / "data" / "dataset.json").read_text())
    (workspace / "data" / "dataset.json").write_text(json.dumps(dataset | {"dataset": "chest-xray-pneumonia"}))
    with pytest.raises(ProjectError, match="only generated ones may be shown"):
        example.copy(workspace, tmp_path / "example")
    assert not (tmp_path / "example").exists()
    (workspace / "data" / "dataset.json").write_text(json.dumps(dataset))
    example.copy(workspace, tmp_path / "example")
    assert len(list((tmp_path / "example").glob("*.webp"))) == 5
    assert "Generated radiographs" in (tmp_path / "example" / "report.html").read_text()


def test_the_committed_example_is_of_generated_radiographs():
    folder = HOME / "docs" / "example"
    if folder.is_dir():
        html = (folder / "report.html").read_text()
        assert "No figure here says anything about children" in html
        assert "Data set: phantom" in html
        assert sum(path.stat().st_size for path in folder.iterdir()) < 10e6


def test_the_checklist_has_one_row_an_item_and_names_files_that_exist():
    lines = (HOME / "docs" / "claim.md").read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if re.match(r"\| \d+ \|", line)]
    assert [int(row[0]) for row in rows] == list(range(1, 45))
    for number, _, where, how in rows:
        named = re.findall(r"`([^`]+)`", where)
        assert named or where.strip() == "not addressed", number
        assert how.strip(), number
        for name in named:
            assert name.startswith(WRITTEN) or (HOME / name).exists(), f"item {number}: {name}"
