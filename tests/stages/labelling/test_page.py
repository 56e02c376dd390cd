"""The page in a real browser: keys, clicks, both colour schemes, narrow and wide."""

from __future__ import annotations

import re
from contextlib import contextmanager
from importlib import resources

import pytest
from browser import chromium
from labelling_page import ListLabeller, asking

pytestmark = pytest.mark.slow
COLOURS = re.compile(r"--(\w+): (#\w+);")
LONG = ("sulphur-crested cockatoo, Kakatoe galerita, Cacatua galerita", "m" * 60)


@contextmanager
def visiting(browser, page, width=1100, scheme="light"):
    """The page as it is served; it must not complain, nor ask for anything elsewhere."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    visit = context.new_page()
    complaints, requests = [], []
    visit.on("console", lambda message: complaints.append(message.text))
    visit.on("pageerror", lambda error: complaints.append(str(error)))
    visit.on("request", lambda request: requests.append(request.url))
    visit.goto(page.address)
    shows(visit, 0)
    yield visit
    assert complaints == []
    own = page.address.removesuffix("label")
    assert [url for url in requests if not url.startswith((own, "data:"))] == []
    context.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def shows(visit, turn):
    visit.wait_for_selector(f'html[data-turn="{turn}"]', timeout=20_000)


def press(visit, key, turn):
    visit.keyboard.press(key)
    shows(visit, turn)


def test_keys_clicks_and_the_end(browser):
    labeller = ListLabeller(6)
    with asking(labeller) as page, visiting(browser, page) as visit:
        assert visit.inner_text("#question") == "Picture 1: which is it?"
        assert visit.inner_text("#status") == "6 to go"
        box = visit.locator("#frame img").bounding_box()
        assert abs(box["width"] - box["height"]) < 1  # as square as the picture
        press(visit, "1", 1)
        press(visit, "2", 2)
        press(visit, "3", 3)
        visit.keyboard.press("4")  # is no answer
        assert labeller.labels == [(10, 0), (11, 1), (12, None)]
        assert visit.inner_text("#undo") == "←\nTake back “other”"
        press(visit, "Backspace", 4)
        press(visit, "ArrowLeft", 5)
        assert labeller.labels == [(10, 0)]
        assert visit.inner_text("#key") == "pets/1.png"
        visit.click("#choices button:nth-child(1)")
        shows(visit, 6)
        visit.focus("#choices button:nth-child(3)")
        press(visit, "Enter", 7)
        assert visit.evaluate("document.activeElement.parentNode.id") == "choices"
        visit.click("#undo")
        shows(visit, 8)
        assert labeller.labels == [(10, 0), (11, 0)]
        press(visit, "Control+1", 8)
        for turn in (9, 10, 11):
            press(visit, "2", turn)
        visit.keyboard.press("1")
        visit.wait_for_selector("#over:not([hidden])")
        assert visit.inner_text("#why") == "No pictures are left to label."
        assert visit.inner_text("#done") == "6 pictures labelled; every answer is kept."
        assert visit.inner_text("#reached") == "0 to go"
        assert not visit.is_visible("#asking")
        page.closed()
        assert labeller.labels[2:] == [(12, 1), (13, 1), (14, 1), (15, 0)]


def test_stopped_from_the_page_or_the_terminal(browser):
    for stop in (lambda visit, page: visit.keyboard.press("Escape"),
                 lambda visit, page: page.post("stop")):  # fmt: skip
        with asking(ListLabeller()) as page, visiting(browser, page) as visit:
            press(visit, "1", 1)
            stop(visit, page)
            visit.wait_for_selector("#over:not([hidden])")
            assert visit.inner_text("#why") == "Stopped."
            assert visit.inner_text("#done").startswith("1 picture labelled")


def test_a_held_key_answers_once(browser):
    labeller = ListLabeller()
    with asking(labeller) as page, visiting(browser, page) as visit:
        visit.keyboard.down("1")
        visit.keyboard.down("1")  # repeats
        shows(visit, 1)
        visit.keyboard.down("1")
        visit.wait_for_timeout(100)
        assert labeller.labels == [(10, 0)]


def test_a_failure_is_told(browser):
    labeller = ListLabeller()
    labeller.breaks["answered"] = OSError("disk full")
    with asking(labeller) as page:
        context = browser.new_context()
        visit = context.new_page()
        visit.goto(page.address)
        shows(visit, 0)
        visit.keyboard.press("1")
        visit.wait_for_selector("#trouble:not([hidden])")
        assert visit.inner_text("#trouble") == "OSError: disk full"
        context.close()
        assert page.raised


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read_aloud(browser, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for width in (320, 400, 1400):
        labeller = ListLabeller(2, LONG)
        with asking(labeller) as page, visiting(browser, page, width, scheme) as visit:
            assert visit.evaluate("document.documentElement.scrollWidth") <= width
            shown = visit.eval_on_selector("img", "e => e.getBoundingClientRect().width")
            assert 150 <= shown <= 320
            style = "e => getComputedStyle(e).imageRendering"
            assert visit.eval_on_selector("img", style) == "pixelated"
            found = [each["id"] for each in scanned(axe, visit)]
            press(visit, "1", 1)
            visit.keyboard.press("Escape")
            visit.wait_for_selector("#over:not([hidden])")
            assert found + [each["id"] for each in scanned(axe, visit)] == []


def scanned(axe, visit):
    return axe.run(visit).response["violations"]


def test_the_colours_are_the_reports():
    of = [
        COLOURS.findall(resources.files(f"stages.{room}").joinpath("page.css").read_text("utf-8"))
        for room in ("labelling", "report")
    ]
    mine, reports = map(set, of)
    assert len(mine) >= 14
    assert mine <= reports


@pytest.mark.parametrize(("height", "wide"), [(8, 90), (90, 8), (200, 900), (900, 200)])
@pytest.mark.parametrize("width", [400, 1400])
def test_pictures_keep_their_shape_and_fit(browser, height, wide, width):
    labeller = ListLabeller(shape=(height, wide))
    with asking(labeller) as page, visiting(browser, page, width) as visit:
        shown, frame = (visit.locator(at).bounding_box() for at in ("#frame img", "#frame"))
        assert shown["width"] / shown["height"] == pytest.approx(wide / height, rel=0.01)
        for side in ("width", "height"):
            assert shown[side] <= frame[side] - 24
            if max(height, wide) < 100:
                assert shown[side] <= 320.5
        sides = [shown[side] / (frame[side] - 24) for side in ("width", "height")]
        assert max(sides) == pytest.approx(1, abs=0.01) or max(height, wide) < 100
