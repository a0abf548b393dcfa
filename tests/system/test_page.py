"""The page in a real browser: a clinician's walk, several files, and no verdict beside another image."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

from pipeline.outcomes import CAUTION
from tests.browser_fixture import (
    BRIGHTNESS,
    CHROMIUM,
    INDETERMINATE,
    NONE,
    OUTCOMES,
    SIGNS,
    browser,
    champion,
    choose,
    drop,
    open_page,
    settled,
    shoot,
    wait,
    write_files,
)
from tests.champion_fixture import write_champion
from tests.server_fixture import Server, serve

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="NOT TESTED: the page; Chromium is not installed")
COUNT_PAGES = re.compile(rb"/Type\s*/Page\b")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("page")
    champion(root)
    with serve(root, SERVE_OUT_OF_DISTRIBUTION="refuse") as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Page]:
    opened = open_page(chromium, server.url)
    yield opened
    opened.context.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"))


def rows(page: Page) -> list[str]:
    return page.locator("#list li").all_inner_texts()


def test_the_walk_of_a_clinician(page: Page, server: Server, files: Path) -> None:
    """Open, three images, one DICOM file, one wrong file, print, CSV."""
    assert "not a medical device" in page.inner_text("header")
    shoot(page, "empty")
    page.set_input_files("#file", [files / name for name in OUTCOMES])
    for name, outcome in OUTCOMES.items():
        settled(page, name)
        assert page.inner_text("#outcome").lower() == outcome
        assert CAUTION in page.inner_text("#caution")
        assert page.is_hidden("#warnings")
        shoot(page, name.removesuffix(".png"))
        page.keyboard.press("ArrowDown")

    drop(page, files / "radiograph.dcm")
    settled(page, "radiograph.dcm")
    warned, decided = (page.locator(part).bounding_box() for part in ("#warnings", "#outcome"))
    assert warned["y"] + warned["height"] <= decided["y"]
    assert "unmeasured" in page.inner_text("#warnings")

    drop(page, files / "text.jpeg")
    settled(page, "text.jpeg")
    assert "of no known image type" in page.inner_text("#problem")
    assert page.is_hidden("#answer") and page.is_hidden("#radiograph") and page.is_hidden("#again")
    shoot(page, "error")

    page.keyboard.press("ArrowUp")
    settled(page, "radiograph.dcm")
    shoot(page, "list")
    assert len(COUNT_PAGES.findall(page.pdf(format="A4"))) == 1
    sheet = page.text_content("#sheet")
    for part in ("radiograph.dcm", "accuracy on DICOM", page.text_content("#outcome"), CAUTION, "Model tiny-", "202"):
        assert part in sheet

    with page.expect_download() as saved:
        page.click("#csv")
    table = list(csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8-sig"))))
    assert [row["file"] for row in table] == [*OUTCOMES, "radiograph.dcm", "text.jpeg"]
    assert [row["outcome"] for row in table[:3]] == [NONE, INDETERMINATE, SIGNS]
    assert [row["status"] for row in table] == ["assessed"] * 4 + ["no answer"]
    assert "unmeasured" in table[3]["warnings"] and "of no known image type" in table[4]["problem"]
    assert all(CAUTION in row["notice"] and 0 <= float(row["score"]) <= 1 for row in table[:4])

    assert {url for url in page.asked if not url.startswith((server.url, "blob:", "data:"))} == set()
    assert [text for text in page.complaints if "status of 4" not in text] == []


def test_the_score_is_a_place_between_two_thresholds_and_no_percentage(page: Page, files: Path) -> None:
    choose(page, files / "between.png")
    scale = page.locator("#scale").bounding_box()
    places = {
        name: (page.locator(f"#scale .{name}").bounding_box()["x"] - scale["x"]) / scale["width"]
        for name in ("lower", "needle", "upper")
    }
    assert places["lower"] == pytest.approx(0.4, abs=0.02) and places["upper"] == pytest.approx(0.6, abs=0.02)
    assert places["lower"] < places["needle"] < places["upper"]
    for part in ("#score", "#outcome", "#list li"):
        assert "%" not in page.inner_text(part)
    assert "%" not in page.get_attribute("#scale", "aria-label")
    assert "no patient's risk" in page.inner_text("#score")


@pytest.mark.parametrize(
    ("score", "text"), [(0.59999, "0.59999"), (0.6, "0.600"), (0.4000001, "0.400"), (0.25, "0.250")]
)
def test_a_score_is_never_rounded_across_a_threshold(page: Page, score: float, text: str) -> None:
    script = "async score => (await import('./static/score.js')).digits(score, {lower: 0.4, upper: 0.6})"
    assert page.evaluate(script, score) == text


def test_a_rejected_image_is_shown_with_the_reason_and_no_outcome(page: Page, files: Path) -> None:
    choose(page, files / "scene.png")
    assert "Rejected by the input check" in page.inner_text("#problem")
    assert "limit 1.50" in page.inner_text("#problem")
    assert page.is_visible("#canvas") and page.is_hidden("#answer") and page.is_hidden("#mapping")
    shoot(page, "refused")
    assert "rejected by the input check" in rows(page)[0]


WATCH = """
window.seen = [];
const show = (id) => !document.getElementById(id).hidden;
const look = () => {
  const canvas = document.querySelector('#canvas');
  let grey = null;
  if (show('radiograph') && canvas.width && canvas.height) {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    grey = 0;
    for (let place = 0; place < data.length; place += 4) grey += data[place];
    grey /= data.length / 4 * 255;
  }
  const outcome = show('answer') ? document.querySelector('#outcome').textContent : null;
  window.seen.push([document.querySelector('#name').textContent, outcome, grey]);
  requestAnimationFrame(look);
};
look();
"""


def watched(page: Page) -> list[tuple[str, str | None, float | None]]:
    """Name, outcome and mean brightness of the image, as they stood together in every frame since the last call."""
    page.evaluate("new Promise(requestAnimationFrame)")
    return [tuple(frame) for frame in page.evaluate("window.seen.splice(0)")]


def agree(frames: list[tuple[str, str | None, float | None]]) -> None:
    """In no frame did an outcome or an image stand beside another file's name."""
    for name, outcome, grey in frames:
        assert outcome in (None, OUTCOMES.get(name)), (name, outcome)
        assert grey is None or grey == pytest.approx(BRIGHTNESS[name], abs=0.05), (name, grey)


def test_no_verdict_stands_beside_another_image_however_late_an_answer_comes(page: Page, files: Path) -> None:
    held: list[Route] = []
    page.route(re.compile("/(explain|picture)$"), lambda route: held.append(route))

    def release(kind: str, place: int) -> None:
        """Let go of a file's request, by the order in which the files were asked about."""
        routes = [route for route in held if route.request.url.endswith(kind)]
        routes[place].continue_()

    def until(requests: int) -> None:
        for _ in range(3000):
            if len(held) >= requests:
                return
            page.wait_for_timeout(20)
        raise AssertionError(f"{len(held)} requests in place of {requests}")

    page.evaluate(WATCH)
    page.set_input_files("#file", [files / "none.png", files / "between.png"])
    until(4)
    assert page.inner_text("#name") == "none.png"
    assert page.is_visible("#progress") and page.is_hidden("#answer") and page.is_hidden("#radiograph")
    shoot(page, "loading")

    release("explain", 1)  # the second file is answered first
    release("picture", 1)
    wait(page, "document.querySelectorAll('#list li')[1].dataset.state === 'answered'")
    assert page.inner_text("#name") == "none.png" and page.is_hidden("#answer") and page.is_hidden("#radiograph")

    page.keyboard.press("ArrowDown")
    settled(page, "between.png")
    page.set_input_files("#file", files / "signs.png")  # a new image clears everything at once
    assert page.inner_text("#name") == "signs.png" and page.is_hidden("#answer") and page.is_hidden("#radiograph")
    until(6)
    release("picture", 0)
    release("explain", 0)  # the first file's answer comes while the third is awaited
    wait(page, "document.querySelectorAll('#list li')[0].dataset.state === 'answered'")
    assert page.inner_text("#name") == "signs.png" and page.is_hidden("#answer") and page.is_hidden("#radiograph")
    release("picture", 2)
    release("explain", 2)
    settled(page, "signs.png")

    frames = watched(page)
    agree(frames)
    assert {name for name, outcome, _ in frames if outcome} >= {"between.png", "signs.png"}

    for key in ["Home", "End", "ArrowUp", "ArrowUp", "ArrowDown", "ArrowDown", "ArrowUp", "Home", "End"] * 3:
        page.keyboard.press(key)
    settled(page, "signs.png")
    agree(watched(page))


def test_the_same_image_again_is_read_again(page: Page, files: Path) -> None:
    for count in (1, 2):
        choose(page, files / "signs.png")
        wait(page, f"document.querySelectorAll('#list li[data-state=answered]').length === {count}")


def test_a_file_without_an_answer_can_be_tried_again(page: Page, files: Path) -> None:
    page.route("**/explain", lambda route: route.abort())
    choose(page, files / "signs.png")
    assert "cannot be reached" in page.inner_text("#problem")
    page.unroute("**/explain")
    page.click("#again")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.is_hidden("#problem") and page.inner_text("#outcome").lower() == SIGNS


def test_the_list_can_be_cleared_while_an_answer_is_on_its_way(page: Page, files: Path) -> None:
    held: list[Route] = []
    page.route("**/explain", lambda route: held.append(route))
    page.set_input_files("#file", files / "signs.png")
    wait(page, "document.querySelector('#list li').dataset.state !== 'waiting'")
    page.click("#clear")
    assert rows(page) == [] and page.inner_text("#name") == "No image yet"
    page.unroute("**/explain")
    choose(page, files / "none.png")
    assert page.inner_text("#outcome").lower() == NONE and len(rows(page)) == 1


def test_a_files_name_cannot_become_a_formula_or_markup(page: Page, files: Path, tmp_path: Path) -> None:
    name = '=HYPERLINK("x"),<img src=x onerror=alert(1)>.png'
    (tmp_path / name).write_bytes((files / "signs.png").read_bytes())
    choose(page, tmp_path / name)
    assert page.inner_text("#name") == name and page.locator("main img").count() == 0
    with page.expect_download() as saved:
        page.click("#csv")
    (row,) = csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8-sig")))
    assert row["file"] == "'" + name


def test_an_answer_of_a_newer_champion_is_shown_with_its_own_thresholds(
    page: Page, server: Server, files: Path
) -> None:
    choose(page, files / "signs.png")
    page.click("text=Details of this answer")
    answered = page.inner_text("#details")
    assert "Model\ntiny-" in answered and "specificity at least 0.95" in answered
    try:
        write_champion(server.root, "second")
        for _ in range(100):
            choose(page, files / "signs.png")
            if "Model\nsecond-" in page.inner_text("#details"):
                break
            page.click("#clear")
        assert "Model\nsecond-" in page.inner_text("#details") and "specificity" in page.inner_text("#details")
        page.click("text=About the model")
        assert "Version\nsecond-" in page.inner_text("#facts")
    finally:
        champion(server.root)


def test_a_token_is_asked_for_and_what_waited_for_it_is_answered(
    chromium: Browser, files: Path, tmp_path: Path
) -> None:
    champion(tmp_path)
    with serve(tmp_path, SERVE_TOKEN="open sesame", SERVE_OUT_OF_DISTRIBUTION="refuse") as locked:
        page = chromium.new_context().new_page()
        page.goto(locked.url + "/")
        page.wait_for_selector("#access:not([hidden])")
        choose(page, files / "signs.png")
        assert "no answer" in rows(page)[0]
        page.fill("#token", "open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#answer:not([hidden])")
        assert page.inner_text("#outcome").lower() == SIGNS and page.is_hidden("#access")
        page.context.close()
