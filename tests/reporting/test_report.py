"""The report: one page that needs nothing else, read in a real browser; the cards; and the checklist."""

import json
import re
import shutil
from pathlib import Path

import pytest

from pipeline.ci import image_content
from pipeline.data.tables import read_table
from pipeline.reporting import report
from tests.browser_fixture import CHROMIUM, browser, tab, wait
from tests.candidate_fixture import RUN, command, write_candidate
from tests.explain_fixture import explained, write_settings

HOME = Path(__file__).resolve().parents[2]
WRITTEN = (
    "reports/",
    "docs/study.html",
    "docs/model-card.md",
    "docs/data-card.md",
    "metrics/",
    "plots/",
    "dvc.lock",
)  # by stages


@pytest.fixture(scope="module")
def root():
    root = explained()
    done = command(root, "pipeline.stages.report")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def html(root):
    return (root / "reports" / "index.html").read_text(encoding="utf-8")


def test_generated_images_are_named_as_such_everywhere(root, html):
    assert "No metric here says anything about children" in html
    assert "<title>Generated radiographs" in html
    for card in ("model-card.md", "data-card.md"):
        assert "**Generated radiographs.**" in (root / "docs" / card).read_text()


def test_the_page_asks_nobody_for_anything(html):
    assert re.findall(r"""(?:src|href)="(?!data:|#)([^"]*)""", html) == []
    assert "<script" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_page_that_git_keeps_shows_no_radiograph(root, html):
    page = root / "docs" / "study.html"
    kept = page.read_text(encoding="utf-8")
    assert image_content.kind(html.encode()), "the full report shows radiographs"
    assert image_content.kind(page.read_bytes()) is None
    drawn = re.findall(r'src="data:([a-z/+]*)', kept)
    assert len(drawn) > 5 and set(drawn) == {"image/svg+xml"}
    for name in ("reports/explain/maps.png", "reports/figures/samples_normal.png", "plots/exploration/means.svg"):
        assert f"draws it, in {name}" in kept
    for heading in ("question", "curves", "seeing", "failing", "limits"):
        assert f'id="{heading}"' in kept
    assert kept.count('class="check') == 1 + len(("randomisation", "masking", "border")), "the maps' checks"
    gallery = read_table(root / "reports" / "explain" / "gallery" / "gallery.csv")
    assert gallery and not any(f"of patient {row['patient']} " in kept for row in gallery)
    assert re.findall(r"""(?:src|href)="(?!data:|#)([^"]*)""", kept) == []


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


def test_what_holds_of_real_radiographs_is_not_said_of_generated_ones(root, html):
    for text in (html, (root / "docs" / "data-card.md").read_text()):
        assert "letter R" not in text
        assert "lungs are darker" not in text
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    drawings = [caption for caption in captions if caption.startswith("Architecture of")]
    assert len(drawings) == 2
    assert not any("Generated" in caption for caption in drawings)
    assert sum("<strong>Generated radiographs.</strong>" in caption for caption in captions) > 5


def test_every_map_says_that_it_localises_nothing_and_on_which_grid(root, html):
    gallery = html[html.index('id="failing"') : html.index('id="limits"')]
    assert "grid of 2 x 2 cells" in gallery
    assert "localises nothing" in gallery
    drawn = re.sub(r"<[^>]+>|\s+", " ", (root / "plots" / "explain" / "randomisation.svg").read_text())
    assert re.search(r"localises +nothing", drawn)
    assert re.search(r"grid: +2 +x +2", drawn)


def test_a_verdict_on_the_page_and_on_the_card_tells_what_was_found(html):
    checks = html[html.index('class="checks"') : html.index("Agreement of the maps")]
    assert checks.count("Asked:") == checks.count("Found:") == 3
    assert re.search(r"AUC of the frame alone \S+ to \S+ on validation, \S+ to \S+ on test", checks)


def test_metrics_of_another_hospital_stand_beside_the_network_that_was_measured(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "root")
    version = write_candidate(copy)
    shutil.copytree(copy / "models" / "candidate", copy / "models" / "champions" / "other-1")
    path = copy / "models" / "champions" / "other-1" / "contract.json"
    contract = json.loads(path.read_text())
    contract["figures"] = dict.fromkeys(contract["figures"], contract["figures"]["validation"])
    path.write_text(json.dumps(contract))
    (copy / "models" / "CHAMPION").write_text("other-1\n")
    (copy / "metrics" / "site").mkdir()
    for name, measured, auc in (("near", version, 0.8123), ("far", "other-1", 0.7345)):
        names = ("auc", "sensitivity_at_sensitive", "specificity_at_sensitive")
        site = {"name": name, "version": measured, "films": 20, "patients": 10, "views": {}}
        measures = {metric: [auc, auc - 0.1, auc] for metric in names}
        site |= {"accepted": measures | {"normal": 10, "pneumonia": 10}, "share_refused_by_guard": [0, 0, 0.1]}
        (copy / "metrics" / "site" / f"{name}.json").write_text(json.dumps(site))
    missing = next((copy / "reports" / "explain" / "gallery").glob("*.jpeg"))
    missing.unlink()
    done = command(copy, "pipeline.stages.report")
    assert done.returncode == 0, done.stderr
    html, card = (copy / "reports" / "index.html").read_text(), (copy / "docs" / "model-card.md").read_text()
    answer = html[html.index("The answer in short") : html.index('id="data"')]
    beside, other = answer.split("External tests of another network")
    assert "external test (near)" in beside
    assert "far" not in re.sub(r"how far|so far", "", beside)
    assert ".812" in beside
    assert "other-1, the champion" in other
    assert ".734" in other or ".735" in other
    assert (
        card.index("near: 20 images") < card.index("Measured with other versions") < card.index("far: version other-1")
    )
    for text in (html, card):
        assert (
            f"This is about the candidate {version}. Served when it was written was another network, the champion other-1"
            in text
        )
    assert 'src="None"' not in html
    assert f"reports/explain/gallery/{missing.name} is missing" in html
    assert "Champion: other-1." in html[html.index('id="again"') :]
    assert not re.search(r"[a-z0-9]\.(?:There is|Champion|With)", html[html.index('id="again"') :])


def test_the_floor_says_what_it_read():
    facts = {"columns": ["bytes", "mean", "percentile_5"], "dropped": ["width", "height"]}
    assert report.baseline_reads(facts) == (
        "bytes, mean, percentile 5 (width, height: the same in every training image, so not read)"
    )
    assert report.baseline_reads(facts | {"dropped": []}) == "bytes, mean, percentile 5"


def test_a_box_of_the_flow_holds_all_of_pneumonia():
    kinds = [
        ("normal", "NORMAL", "a"),
        ("viral", "PNEUMONIA", "b"),
        ("bacterial", "PNEUMONIA", "c"),
        ("viral", "PNEUMONIA", "b"),
    ]
    counts = report.counts([{"subtype": kind, "label": label, "patient": who} for kind, label, who in kinds])
    assert (counts["pictures"], counts["patients"]) == (4, 3)
    assert counts["pneumonia"] == {"pictures": 3, "patients": 2}
    assert counts["subtypes"]["viral"] == {"pictures": 2, "patients": 1}


@pytest.mark.skipif(not CHROMIUM, reason="CHROMIUM IS NOT INSTALLED: the printed page is not looked at")
def test_what_is_folded_on_the_screen_is_printed(root):
    unseen = (
        "[...document.querySelectorAll('details > :not(summary)')]"
        ".filter(one => !one.checkVisibility({contentVisibilityAuto: true})).length"
    )
    with browser() as chromium:
        page = tab(chromium)
        page.goto((root / "reports" / "index.html").as_uri())
        assert page.evaluate(unseen) > 3
        page.emulate_media(media="print")
        wait(page, f"{unseen} === 0")  # the browser lays the page out anew in its next frame


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
    with browser() as chromium:
        for width in (375, 1440):
            page = tab(chromium, color_scheme=scheme, viewport={"width": width, "height": 900}, is_mobile=width < 500)
            page.goto((root / "reports" / "index.html").as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.evaluate("document.images.length") > 10
            assert page.evaluate("[...document.images].filter(one => !one.naturalWidth).map(one => one.alt)") == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # What is wider than its box must lie in one that scrolls.
            too_wide = (
                "[...document.querySelectorAll('body *')].filter(one => !one.closest('.wide') &&"
                " one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"
            )
            assert page.evaluate(too_wide) == []
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
            assert light == (scheme == "light")
            assert page.complaints == []
            assert {url.split(":")[0] for url in page.asked} <= {"file", "data"}
