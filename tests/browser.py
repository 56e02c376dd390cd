"""A headless Chromium for tests of the page, cut off from every host."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--no-first-run", "--force-color-profile=srgb"),
)
# Where the browser tests must run, a browser that is not there is a failure.
REQUIRED = os.environ.get("BROWSER_TESTS") == "required"


@dataclass
class Visit:
    """An open page, with what it said and asked for."""

    page: object
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def number(self, selector: str) -> float:
        """The exact value of a shown figure."""
        return float(self.page.get_attribute(selector, "value"))

    def figures(self) -> dict[str, float]:
        """The shown cascade's figures by name."""
        shown = self.page.query_selector_all("#figures data")
        return {e.get_attribute("data-name"): float(e.get_attribute("value")) for e in shown}

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)


@contextlib.contextmanager
def chromium() -> Iterator[object]:
    """The browser; skips where there is none."""
    if CHROMIUM is None and not REQUIRED:
        pytest.skip("no chromium: apt-get install chromium")
    if not REQUIRED:
        pytest.importorskip("playwright", reason="no playwright: install the extra [test]")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextlib.contextmanager
def visiting(browser, file: Path, width=1100, height=900, scheme="light") -> Iterator[Visit]:
    """The page from disk, offline, once its script has drawn it; it must not complain."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    visit = Visit(context.new_page())
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.page.on("console", lambda message: visit.complaints.append(message.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.goto(file.as_uri())
    visit.page.wait_for_selector("html[data-ready]", timeout=60_000)
    yield visit
    assert visit.complaints == []
    outside = [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    context.close()
