"""The image on the page: zoom, pan, window and level, the map over it, and the printed sheet."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from pipeline.outcomes import CAUTION
from tests.browser_fixture import (
    CHROMIUM,
    browser,
    champion,
    choose,
    open_page,
    pixels,
    radiograph,
    shoot,
    wait,
    write_files,
)
from tests.image_fixture import encoded
from tests.server_fixture import CHECKOUT, Server, serve

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="NOT TESTED: the page; Chromium is not installed")
COUNT_PAGES = re.compile(rb"/Type\s*/Page\b")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("view")
    champion(root)
    with serve(root) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def page(chromium: Browser, server: Server, files: Path) -> Iterator[Page]:
    opened = open_page(chromium, server.url)
    choose(opened, files / "signs.png")
    yield opened
    opened.context.close()


def seen(page: Page) -> np.ndarray:
    """The image as it stands on the page, uint8 [height, width, 3]."""
    return pixels(page.locator("#stage").screenshot())


def slide(page: Page, slider: str, value: int) -> None:
    page.locator(slider).evaluate("(e, value) => { e.value = value; e.dispatchEvent(new Event('input')); }", value)


def resized(image: Image.Image, like: np.ndarray) -> np.ndarray:
    return np.asarray(image.convert("L").resize(like.shape[1::-1], Image.Resampling.BILINEAR), float)


def test_the_image_is_shown_whole_and_true(page: Page, files: Path) -> None:
    shown = seen(page)
    assert np.abs(shown[..., 0] - resized(Image.open(files / "signs.png"), shown)).mean() < 3
    assert page.get_attribute("#canvas", "aria-label") == "Radiograph signs.png"


def test_zoom_pan_and_reset(page: Page, files: Path) -> None:
    unzoomed = seen(page)
    for _ in range(4):
        page.click("#zoom-in")
    zoomed = seen(page)
    factor = 1.25**4
    image = Image.open(files / "signs.png")
    width, height = image.size
    middle = [width / 2 * (1 - 1 / factor), height / 2 * (1 - 1 / factor)]
    middle += [width - middle[0], height - middle[1]]
    assert np.abs(zoomed[..., 0] - resized(image.crop([round(side) for side in middle]), zoomed)).mean() < 4

    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 140)
    page.mouse.up()
    moved = seen(page)
    assert np.abs(moved[60:, 80:].astype(int) - zoomed[20:-40, 20:-60]).mean() < 3
    page.click("#reset")
    assert np.array_equal(seen(page), unzoomed)

    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -200)
    wait(page, "document.querySelector('#stage').classList.contains('zoomed')")
    assert not np.array_equal(seen(page), unzoomed)
    page.focus("#stage")
    page.keyboard.press("0")
    assert np.array_equal(seen(page), unzoomed)
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    assert not np.array_equal(seen(page), unzoomed)


def test_nobody_can_pan_the_image_out_of_sight(page: Page) -> None:
    page.focus("#stage")
    for key in ["+"] * 8 + ["ArrowLeft"] * 80:
        page.keyboard.press(key)
    assert seen(page)[:, :20].max() > 0
    for _ in range(20):
        page.keyboard.press("+")
    assert page.evaluate("document.querySelector('#stage').classList.contains('zoomed')")


@pytest.mark.parametrize(("width", "level"), [(100, 128), (256, 60), (40, 200)])
def test_window_and_level_change_the_greys_as_radiologists_know(page: Page, width: int, level: int) -> None:
    before = seen(page)[..., 0].astype(float)
    slide(page, "#width", width)
    slide(page, "#level", level)
    expected = np.clip(256 * (before - level + width / 2) / width, 0, 255)
    assert np.abs(seen(page)[..., 0] - expected).mean() < 4  # edges are smoothed after the window, not before
    page.click("#reset")
    assert (page.input_value("#width"), page.input_value("#level")) == ("256", "128")
    assert np.abs(seen(page)[..., 0] - before).mean() == 0


def test_a_right_drag_changes_window_and_level(page: Page) -> None:
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 100, box["y"] + 260)
    page.mouse.up(button="right")
    assert float(page.input_value("#width")) < 256 and float(page.input_value("#level")) > 128


def test_the_map_is_off_until_asked_for_and_begins_at_sixty(page: Page, files: Path) -> None:
    assert not page.is_checked("#map-on") and page.is_hidden("#map-controls")
    plain = seen(page)
    assert np.ptp(plain.astype(int), axis=2).max() == 0  # no colour
    assert "does not localise disease" in page.inner_text("#border")  # beside the switch, before it is asked for
    page.check("#map-on")
    assert page.input_value("#opacity") == "60" and "60 %" in page.inner_text("#map-controls")
    assert (np.ptp(seen(page).astype(int), axis=2) > 30).mean() > 0.5
    shoot(page, "map")
    choose(page, files / "between.png")
    assert not page.is_checked("#map-on") and np.ptp(seen(page).astype(int), axis=2).max() == 0


def test_opacity_runs_from_nothing_to_all(page: Page) -> None:
    plain = seen(page).astype(int)
    page.check("#map-on")
    colour = {}
    for value in (0, 60, 100):
        slide(page, "#opacity", value)
        colour[value] = np.ptp(seen(page).astype(int), axis=2)
    inside = colour[60] > 0  # what is not a line of the grid
    assert colour[0].max() == 0
    assert colour[0].mean() < colour[60].mean() < colour[100].mean()
    slide(page, "#opacity", 0)
    lines = (np.abs(seen(page).astype(int) - plain).max(axis=2) > 20) & inside
    assert 0.005 < lines.mean() < 0.2  # the grid alone is left


def test_the_map_has_fields_of_the_networks_own_grid_a_colour_bar_and_units(page: Page) -> None:
    page.check("#map-on")
    slide(page, "#opacity", 100)
    bar = pixels(page.locator("#colours").screenshot()).astype(int)
    middle = bar[bar.shape[0] // 2]
    assert np.ptp(middle[3]) < 12 and middle[-4][0] - middle[-4][1] > 150  # grey where there is none, red where most
    told = page.inner_text("#units")
    assert "-1.00 or less" in told and "1.00 or more" in told and "units of the logit" in told
    # The tiny network's map is 8 x 8: within a field the colour changes with the radiograph's grey alone, and lines part them.
    shown = seen(page).astype(int)
    height, width = shown.shape[:2]
    row = round(height * 4.5 / 8)
    jumps = np.abs(np.diff(shown[row, :, 0]))
    borders = np.flatnonzero(jumps > 60)
    assert {
        round(place / width * 8) for place in borders if abs(place / width * 8 - round(place / width * 8)) < 0.05
    } >= {
        2,
        4,
        6,
    }


def test_what_the_border_check_found_stands_beside_the_map(chromium: Browser, files: Path, tmp_path: Path) -> None:
    """With the committed champion, a contract of 0.1.0 whose points have changed places, and what `explain` found of it."""
    for name in ("models", "metrics"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    version = (CHECKOUT / "models" / "CHAMPION").read_text().strip()
    contract = json.loads((CHECKOUT / "models" / "champions" / version / "contract.json").read_text())
    summary = json.loads((CHECKOUT / "metrics" / "explain" / "summary.json").read_text())
    with serve(tmp_path) as committed:
        page = open_page(chromium, committed.url)
        choose(page, files / "signs.png")
        known = summary["run"] == contract["run"]
        word = (
            "not at hand" if not known else "passes" if summary["checks"]["border"]["passes"] else "border check fails"
        )
        assert word in page.inner_text("#border")
        page.click("text=Details of this answer")
        assert "calibration intercept" in page.inner_text("#calibration")
        page.check("#map-on")
        shoot(page, "committed-champion")
        card = committed.get("/model").json()
        assert 0 <= card["thresholds"]["lower"]["score"] <= card["thresholds"]["upper"]["score"] <= 1
        page.context.close()


def print_sheet(page: Page) -> bytes:
    return page.pdf(format="Letter")  # the shorter of the two usual formats


def test_one_page_is_printed_with_all_that_belongs_to_the_image(page: Page, files: Path) -> None:
    slide(page, "#width", 120)
    assert len(COUNT_PAGES.findall(print_sheet(page))) == 1
    page.emulate_media(media="print")
    assert page.is_hidden("main") and page.is_hidden("header") and page.is_visible("#sheet")
    told = page.inner_text("#sheet")
    for part in ("signs.png", "Model tiny-", "Score 0.8", "units of the logit", CAUTION, "not a medical device"):
        assert part in told
    assert re.search(r"\d{1,2} \w+ 20\d\d", told)
    image, over = (pixels(page.locator(part).screenshot()).astype(int) for part in ("#sheet-image", "#sheet-map"))
    assert np.ptp(image, axis=2).max() == 0 and (np.ptp(over, axis=2) > 30).mean() > 0.5
    shoot(page, "print")


def test_a_tall_image_with_many_warnings_and_a_long_name_still_takes_one_page(
    page: Page, server: Server, tmp_path: Path
) -> None:
    tall = tmp_path / ("a-very-long-name-" * 10 + ".png")
    tall.write_bytes(encoded(radiograph(0.7).resize((300, 1500)), "PNG"))
    warnings = [f"the {count}. of many things to be careful about " * 3 for count in range(8)]
    answer = server.post(tall.read_bytes(), "/explain").json() | {"warnings": warnings}
    page.route("**/explain", lambda route: route.fulfill(json=answer))
    choose(page, tall)
    assert page.locator("#warning-list li").count() == 8
    assert len(COUNT_PAGES.findall(print_sheet(page))) == 1
    assert page.locator("#sheet-warnings li").count() == 8


def test_without_an_outcome_the_sheet_says_so_and_shows_nothing_of_the_image_before(page: Page, files: Path) -> None:
    print_sheet(page)
    choose(page, files / "text.jpeg")
    print_sheet(page)
    told = page.text_content("#sheet")
    assert "No outcome" in told and "of no known image type" in told
    assert "Score" not in told and "signs of pneumonia" not in told and "signs.png" not in told
    assert page.locator("#sheet-images").get_attribute("hidden") is not None
