"""The page of `cascade report` at 40 models × 50,000 images × 1,000 classes: size and answers.

    python -m benchmarks.page

Made-up models, 9,360 cascades. In a headless Chromium each action is timed from the event to the
second frame after it, when its result is on the screen, beside the same wait with nothing to do,
the floor. Needs chromium, playwright. On two shared cores of an AMD EPYC server: 2.1 MB, written in
20 s; each action is on the screen within 53 ms at most, 33 of which are the floor.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from cache import Manifest, Partition, Store
from stages import report
from stages.costs import Pricer, some_macs
from stages.scores import ScoreSet
from stages.threshold import FitPlan

MODELS, IMAGES, CLASSES, TIMES = 40, 50_000, 1_000, 25
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
# What is done at the i-th of n times; `pick` chooses in a select as a hand would.
ACTIONS = {
    "nothing": "",
    "another λ": "at('slider', 'input', e => e.value = Math.round(e.max * (i + 1) / (n + 2)));",
    "another cascade": "at('pick-b', 'change', e => e.selectedIndex = (7 * i + 3) % 40);",
    "another score": "at('pick-score', 'change', e => e.selectedIndex = i % 3);",
    "post-check": "document.getElementById('pick-post').click();",
    "a cell of the matrix": "cells[(137 * i + 11) % cells.length].click();",
    "another measure": "at('metric', 'change', e => e.selectedIndex = i % e.length);",
    "the theme": "document.getElementById('theme').click();",
}
TIMED = """async ([action, n]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const at = (id, kind, change) => {
    const e = document.getElementById(id);
    change(e);
    e.dispatchEvent(new Event(kind, {bubbles: true}));
  };
  const act = new Function("at", "cells", "i", "n", action);
  const times = [];
  for (let i = 0; i < n; i++) {
    const cells = document.querySelectorAll("td[data-a]");
    await frame();
    const begun = performance.now();
    act(at, cells, i, n);
    await frame();
    await frame();
    times.push(performance.now() - begun);
  }
  return times;
}"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "page.html")
        begun = time.perf_counter()
        told = write(Store(Path(folder, "cache")), out)
        took = time.perf_counter() - begun
        print(f"{MODELS} models × {IMAGES:,} images × {CLASSES:,} classes")
        print(f"  written in           {took:7.0f} s")
        print(f"  size                 {out.stat().st_size / 1e6:7.1f} MB")
        print(f"  corners per cascade  {told['page_corners']:7}, off by {told['page_off']:.2%}")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            print("  no chromium: what it does in a browser is not measured")
            return 0
        for action, times in answers(out, chromium).items():
            middle, most = statistics.median(times), max(times)
            print(f"  {action:<20} {middle:7.0f} ms, at most {most:.0f}")
    return 0


def write(store: Store, out: Path) -> dict[str, object]:
    reported, fitting = (models_of(split, seed) for seed, split in enumerate(("test", "val")))
    plan = FitPlan("other-split", "val", fitting, ())
    macs = {name: int(1e8 * 1.12**i) for i, name in enumerate(reported.models)}
    pricer = Pricer(reported, some_macs(macs))
    return report.run(store, reported, plan, out, pricer=pricer)


def models_of(split: str, seed: int) -> ScoreSet:
    """Models of growing skill; each is the surer the farther its margin lies from 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, IMAGES).astype(np.int32)
    hard = rng.standard_normal(IMAGES)
    margin = np.linspace(0.5, 2.2, MODELS)[:, None] - hard
    margin = margin + 0.7 * rng.standard_normal(margin.shape)
    sure = 1 / (1 + np.exp(0.5 - 2 * abs(margin) - 0.5 * rng.standard_normal(margin.shape)))
    wrong = (labels + rng.integers(1, CLASSES, margin.shape)) % CLASSES
    answers = np.where(margin > 0, labels, wrong).astype(np.int32)
    names = tuple(f"model_{m:02}" for m in range(MODELS))
    scores = {"maxp": sure, "difference": sure**2, "entropy": 1 - sure**3}
    ids = np.arange(IMAGES)
    right, manifests = answers == labels, tuple(_manifest(split, name) for name in names)
    return ScoreSet("synthetic", split, names, ids, labels, answers, right, scores, manifests)


def _manifest(split: str, model: str) -> Manifest:
    keys = {"split": split, "variant": "identity", "runtime": "made-up", "model": model}
    about = {"trained_on": {"splits": ["train"], "source": "stated"}}
    partition = Partition.of("scores", dataset="synthetic", **keys)
    return Manifest(partition, (), {"dataset_fingerprint": split}, about)


def answers(page: Path, chromium: str) -> dict[str, list[float]]:
    """Milliseconds by action."""
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=list(FLAGS))
        opened = browser.new_page(viewport={"width": 1100, "height": 900})
        begun = time.perf_counter()
        opened.goto(page.as_uri())
        opened.wait_for_selector("td[data-a]")
        took = {"opened": [1000 * (time.perf_counter() - begun)]}
        took |= {name: timed(opened, action) for name, action in ACTIONS.items()}
        browser.close()
    return took


def timed(page: Page, action: str) -> list[float]:
    return page.evaluate(TIMED, [action, TIMES])


if __name__ == "__main__":
    sys.exit(main())
