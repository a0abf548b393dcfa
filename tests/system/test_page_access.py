"""The page for everyone: axe-core in each state, keyboard alone, phone, dark room, and below a path prefix."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from tests.browser_fixture import (
    CHROMIUM,
    browser,
    champion,
    choose,
    drop,
    open_page,
    pixels,
    settled,
    shoot,
    wait,
    write_files,
)
from tests.proxy_fixture import below
from tests.server_fixture import Server, serve

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="NOT TESTED: the page; Chromium is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("access")
    champion(root)
    with serve(root, SERVE_OUT_OF_DISTRIBUTION="refuse") as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Page]:
    opened = open_page(chromium, server.url)
    yield opened
    opened.context.close()


def findings(page: Page) -> list[str]:
    """What axe-core finds, each with the element."""
    violations = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in violations for node in each["nodes"]]


def test_axe_does_find_a_mistake(page: Page) -> None:
    page.evaluate("document.querySelector('#drop label').remove()")
    assert any(finding.startswith("label") for finding in findings(page))


def hold(page: Page, files: Path) -> None:
    held: list[Route] = []
    page.route("**/explain", lambda route: held.append(route))
    page.set_input_files("#file", files / "signs.png")
    wait(page, "document.querySelector('#list li').dataset.state !== 'waiting'")


def with_map(page: Page, files: Path) -> None:
    choose(page, files / "signs.png")
    page.check("#map-on")


def several(page: Page, files: Path) -> None:
    choose(page, files / "radiograph.dcm", files / "none.png", files / "scene.png", files / "text.jpeg")
    wait(
        page, "!document.querySelector('#list li:is([data-state=waiting], [data-state=sending], [data-state=reading])')"
    )


def unfolded(page: Page, files: Path) -> None:
    choose(page, files / "radiograph.dcm")
    for summary in page.locator("summary").all():
        summary.click()


STATES = {
    "empty": lambda page, files: None,
    "loading": hold,
    "no pneumonia": lambda page, files: choose(page, files / "none.png"),
    "indeterminate": lambda page, files: choose(page, files / "between.png"),
    "signs": lambda page, files: choose(page, files / "signs.png"),
    "rejected": lambda page, files: choose(page, files / "scene.png"),
    "no answer": lambda page, files: choose(page, files / "text.jpeg"),
    "list": several,
    "map": with_map,
    "unfolded": unfolded,
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(page: Page, files: Path, state: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    STATES[state](page, files)
    assert findings(page) == []
    shoot(page, f"axe-{state}-{scheme}".replace(" ", "-"))


def test_axe_finds_nothing_on_a_phone(chromium: Browser, server: Server, files: Path) -> None:
    page = open_page(chromium, server.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    several(page, files)
    page.check("#map-on")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert findings(page) == []
    shoot(page, "phone")
    page.context.close()


def test_two_fingers_zoom_on_a_phone(chromium: Browser, server: Server, files: Path) -> None:
    page = open_page(chromium, server.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    choose(page, files / "signs.png")
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    session = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 30), ("touchMove", 60), ("touchMove", 90), ("touchEnd", None)):
        points = [] if apart is None else [{"x": middle[0] + way * apart, "y": middle[1], "id": way} for way in (-1, 1)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    wait(page, "document.querySelector('#stage').classList.contains('zoomed')")
    page.context.close()


def test_the_switch_makes_a_dark_room_whatever_the_system_says(page: Page, server: Server) -> None:
    def brightness() -> float:
        return float(pixels(page.screenshot()).mean())

    page.emulate_media(color_scheme="light")
    assert brightness() > 200
    page.click("#room")
    assert brightness() < 30 and page.get_attribute("#room", "aria-pressed") == "true"
    page.reload()
    assert brightness() < 30
    page.emulate_media(color_scheme="dark")
    page.click("#room")
    assert brightness() > 200 and page.get_attribute("#room", "aria-pressed") == "false"


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.tagName.toLowerCase()")


def tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        if focused(page) == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {name}")


def test_everything_is_done_by_keyboard_alone(page: Page, files: Path) -> None:
    tab_to(page, "room")
    tab_to(page, "file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files([files / "signs.png", files / "none.png", files / "text.jpeg"])
    settled(page, "signs.png")
    assert focused(page) == "list"
    page.keyboard.press("ArrowDown")
    settled(page, "none.png")
    page.keyboard.press("End")
    settled(page, "text.jpeg")
    page.keyboard.press("ArrowUp")
    settled(page, "none.png")
    chosen = page.locator("#list").get_attribute("aria-activedescendant")
    assert "none.png" in page.inner_text(f"#{chosen}") and page.get_attribute(f"#{chosen}", "aria-selected") == "true"
    with page.expect_download():
        tab_to(page, "csv")
        page.keyboard.press("Enter")
    for name, key in {
        "stage": "+",
        "zoom-in": "Enter",
        "width": "ArrowLeft",
        "level": "ArrowLeft",
        "map-on": "Space",
    }.items():
        tab_to(page, name)
        page.keyboard.press(key)
    assert page.input_value("#width") == "255" and page.input_value("#level") == "127"
    assert page.evaluate("document.querySelector('#stage').classList.contains('zoomed')")
    tab_to(page, "opacity")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#opacity") == "61" and "61 %" in page.inner_text("#map-controls")
    tab_to(page, "summary")
    page.keyboard.press("Enter")
    tab_to(page, "a")


def test_a_screen_reader_hears_what_happens(page: Page, files: Path) -> None:
    assert page.get_attribute("#state", "role") == "status" and page.get_attribute("#problem", "role") == "alert"
    choose(page, files / "radiograph.dcm")
    heard = page.text_content("#state")
    assert heard.startswith("warnings: ") and "signs of pneumonia, score 0." in heard
    tree = page.locator("main").aria_snapshot()
    for part in (
        'listbox "Images in this session"',
        'option "radiograph.dcm',
        'img "Radiograph radiograph.dcm"',
        'img "Score 0.',
    ):
        assert part in tree


@pytest.fixture(scope="module")
def prefixed(server: Server) -> Iterator[str]:
    with below("/cxr", server.url) as address:
        yield address


def test_below_a_path_prefix_the_page_works(chromium: Browser, prefixed: str, files: Path) -> None:
    page = open_page(chromium, prefixed)
    choose(page, files / "signs.png")
    assert page.text_content("#outcome") == "signs of pneumonia" and page.is_visible("#canvas")
    drop(page, files / "radiograph.dcm")
    settled(page, "radiograph.dcm")
    shoot(page, "prefix")
    assert all(url.startswith((prefixed + "/", "blob:", "data:")) for url in page.asked)
    assert page.complaints == []
    page.click("text=About the model")
    page.click("text=The API")
    wait(page, "document.body.innerText.includes('/explain')")
    assert page.url == prefixed + "/docs"
    page.context.close()


@pytest.mark.parametrize("prefix", ["", "/cxr"])
def test_swagger_works_and_its_requests_are_answered(chromium: Browser, server: Server, prefix: str) -> None:
    with below(prefix, server.url) as address:
        page = chromium.new_context().new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + "/docs")
        page.click("[id$='-model'] .opblock-summary-control")
        page.click("text=Try it out")
        page.click("button.execute")
        status = ".live-responses-table .response .response-col_status"
        wait(page, f"document.querySelector('{status}')?.innerText.startsWith('200')")
        assert address + "/model" in asked
        assert all(url.startswith((address + "/", "data:", "blob:")) for url in asked)
        shoot(page, f"swagger{re.sub('[^a-z]', '-', prefix)}")
        page.context.close()
