"""Pictures of a report for the docs: light and dark, wide and narrow.

    cascade report -d cifar10 --cost macs -o report.html
    python -m tools.page_pictures report.html docs/images

Those in docs/images are of resnet20, resnet56, mobilenetv2_x0_5 and shufflenetv2_x0_5.
Needs chromium, playwright and pillow. Writes report.png, report-dark.png, report-narrow.png and
report-narrow-dark.png, in few colours so that they stay small.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

SIZES = {"": (1000, 1440), "-narrow": (390, 1800)}
SCHEMES = {"": "light", "-dark": "dark"}
COLOURS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for width, size in SIZES.items():
            for dark, scheme in SCHEMES.items():
                file = given.folder / f"report{width}{dark}.png"
                small(shot(browser, given.page, size, scheme)).save(file, optimize=True)
                print(f"wrote {file}")
        browser.close()


def shot(browser: Browser, page: Path, size: tuple[int, int], scheme: str) -> Image.Image:
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    visit = context.new_page()
    visit.goto(page.absolute().as_uri())
    visit.wait_for_selector("html[data-ready]")
    picture = Image.open(io.BytesIO(visit.screenshot()))
    context.close()
    return picture


def small(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB").quantize(
        COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )


if __name__ == "__main__":
    main()
