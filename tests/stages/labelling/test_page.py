"""The page in a browser: keys, buttons, the picture, and how it says that it is over."""

from __future__ import annotations

import pytest
from browser import chromium
from labelling_cases import Pictures, page_of


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
def test_keys_and_buttons_label(browser, width, scheme):
    labeller, complaints = Pictures(), []
    with page_of(labeller) as served:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
        )
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://{served.host}/{served.token}/label")
        page.wait_for_selector('html[data-turn="0"]')
        box = page.locator("#frame img").bounding_box()
        assert abs(box["width"] - box["height"]) < 1  # as square as the picture
        assert box["width"] > 200
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.keyboard.press("2")
        page.wait_for_selector('html[data-turn="1"]')
        assert labeller.kept == [(7, 1)]
        page.keyboard.press("Backspace")
        page.wait_for_selector('html[data-turn="2"]')
        assert labeller.kept == []
        page.keyboard.press("4")
        page.wait_for_selector('html[data-turn="3"]')
        page.get_by_role("button", name="dog").click()
        page.wait_for_selector('html[data-turn="4"]')
        assert labeller.kept == [(7, None), (3, 1)]
        assert "2 kept" in page.inner_text("#status")
        page.keyboard.press("Escape")
        page.wait_for_selector("html[data-over]")
        assert "Stopped" in page.inner_text("#why")
        assert "2 pictures labelled" in page.inner_text("#done")
        assert served.ended()
        context.close()
    assert complaints == []
