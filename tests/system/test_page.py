"""The page in a real browser: dropping files, by keyboard, on a phone, without a request to another host."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.browser_fixture import CHROMIUM, Page, browser
from tests.champion_fixture import write_champion
from tests.film_fixture import encoded, film, scene
from tests.server_fixture import Server, serve

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: the page is not tested")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("page")
    write_champion(root)
    with serve(root) as running:
        yield running


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Page]:
    with browser() as opened:
        opened.open(server.url)
        opened.wait("document.querySelector('#facts').textContent.includes('tiny') || card !== null")
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    real = sorted(Path(os.environ["CXR_DATA"]).rglob("*.jpeg")) if "CXR_DATA" in os.environ else []
    (folder / "radiograph.jpeg").write_bytes(real[0].read_bytes() if real else encoded(scene()))
    (folder / "film.dcm").write_bytes(film())
    (folder / "text.jpeg").write_text("This is no picture.")
    (folder / "huge.jpeg").write_bytes(encoded(np.zeros((6000, 10_000), np.uint8)))
    return folder


def rows(page: Page) -> list[str]:
    return page.run("[...document.querySelectorAll('#tried tbody tr')].map((row) => row.innerText)")


def drop(page: Page, path: Path) -> str:
    """Drop a file and return its row of the list of pictures tried."""
    before = len(rows(page))
    page.drop(path, "#drop")
    page.wait(f"document.querySelectorAll('#tried tbody tr').length > {before}")
    return rows(page)[0]


def test_a_radiograph_is_answered_with_its_map(page: Page, files: Path) -> None:
    row = drop(page, files / "radiograph.jpeg")
    assert "radiograph.jpeg" in row
    assert "NORMAL" in row or "PNEUMONIA" in row
    page.wait(
        "document.querySelector('#picture').naturalWidth > 0 && document.querySelector('#overlay').naturalWidth > 0"
    )
    assert page.run("document.querySelector('#verdict').textContent") in ("NORMAL", "PNEUMONIA")
    assert "operating point at" in page.run("document.querySelector('#bar').getAttribute('aria-label')")
    assert page.run("document.querySelector('#state').getAttribute('role')") == "status"
    widths = page.run("['#fill', '#bar'].map((part) => document.querySelector(part).getBoundingClientRect().width)")
    told = page.run("document.querySelector('#numbers dd').textContent")
    assert 100 * widths[0] / widths[1] == pytest.approx(float(told.split()[0]), abs=1.5)


def test_a_film_between_the_operating_points_is_not_called_free_of_signs(page: Page, files: Path) -> None:
    """Also where the specific point lies below the sensitive one, so that the film between them is NORMAL."""
    drop(page, files / "radiograph.jpeg")
    meanings = {}
    for verdict in ("NORMAL", "PNEUMONIA"):
        for between in ("true", "false"):
            page.run(
                f"showAnswer({{verdict: '{verdict}', between: {between}, probability: 0.7, prevalence: card.prevalence,"
                " model_version: '1', milliseconds: 1, warnings: [], map: {overlay: $('overlay').src.split(',')[1]}})"
            )
            meanings[verdict, between] = page.run("document.querySelector('#meaning').textContent")
    assert "No sign of pneumonia was found" in meanings["NORMAL", "false"]
    assert all("operating points disagree" in meanings[verdict, "true"] for verdict in ("NORMAL", "PNEUMONIA"))
    assert "No sign" not in meanings["NORMAL", "true"]
    assert "Do not take this film for normal" in meanings["NORMAL", "true"]


def test_the_slider_fades_the_map(page: Page, files: Path) -> None:
    drop(page, files / "radiograph.jpeg")
    page.run("const s = document.querySelector('#strength'); s.value = 20; s.dispatchEvent(new Event('input'))")
    assert page.run("getComputedStyle(document.querySelector('#overlay')).opacity") == "0.2"


def test_a_dicom_film_is_shown_with_its_warning(page: Page, files: Path) -> None:
    assert "film.dcm" in drop(page, files / "film.dcm")
    page.wait("document.querySelector('#picture').naturalWidth === 640")
    assert "unmeasured" in page.run("document.querySelector('#warnings').innerText")


@pytest.mark.parametrize(("name", "word"), [("text.jpeg", "no JPEG, PNG or TIFF"), ("huge.jpeg", "60000000 pixels")])
def test_a_bad_file_is_named_and_shows_no_verdict(page: Page, files: Path, name: str, word: str) -> None:
    assert word in drop(page, files / name)
    assert word in page.run("document.querySelector('#problem').innerText")
    assert page.run("document.querySelector('#answer').hidden && document.querySelector('#result').hidden")


def test_the_list_brings_a_picture_back(page: Page, files: Path) -> None:
    drop(page, files / "radiograph.jpeg")
    drop(page, files / "text.jpeg")
    page.run("document.querySelectorAll('#tried tbody button')[1].click()")
    assert not page.run("document.querySelector('#answer').hidden")
    assert page.run("document.querySelector('#problem').hidden")


def test_choosing_works_as_dropping_does(page: Page, files: Path) -> None:
    before = len(rows(page))
    page.choose(files / "radiograph.jpeg", "#file")
    page.wait(f"document.querySelectorAll('#tried tbody tr').length > {before}")


def test_the_keyboard_reaches_every_control(page: Page, files: Path) -> None:
    drop(page, files / "radiograph.jpeg")
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = set()
    for _ in range(page.run("document.querySelectorAll('input, button, a').length") + 2):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.add(page.run("document.activeElement.id || document.activeElement.tagName"))
    assert {"file", "strength", "BUTTON", "A"} <= reached


def test_a_screen_reader_finds_a_name_on_every_control(page: Page, files: Path) -> None:
    drop(page, files / "radiograph.jpeg")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = [
        node
        for node in nodes
        if node.get("role", {}).get("value") in ("button", "slider", "link", "img", "image", "textbox")
    ]
    unnamed = [node for node in controls if not node.get("ignored") and not node.get("name", {}).get("value")]
    assert controls
    assert unnamed == []


def test_it_fits_on_a_phone(page: Page, files: Path) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    try:
        drop(page, files / "radiograph.jpeg")
        assert page.run("document.documentElement.scrollWidth") <= 360
        if "PAGE_SCREENSHOTS" in os.environ:
            shoot(page, "phone.png")
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
    if "PAGE_SCREENSHOTS" in os.environ:
        shoot(page, "desk.png")


def test_swagger_page_lists_the_api(server: Server) -> None:
    with browser() as opened:
        opened.open(server.url + "/docs")
        opened.wait("document.body.innerText.includes('/predict')")
        assert all(url.startswith((server.url, "data:", "blob:")) for url in opened.requests)


def test_no_request_went_to_another_host_and_nothing_failed(page: Page, server: Server) -> None:
    assert page.requests
    assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []
    assert [text for text in page.complaints if "status of 4" not in text] == []


def shoot(page: Page, name: str) -> None:
    size = page.call("Page.getLayoutMetrics")["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    picture = page.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
    (Path(os.environ["PAGE_SCREENSHOTS"]) / name).write_bytes(base64.b64decode(picture))
