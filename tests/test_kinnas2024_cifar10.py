"""docs/reproduce.md against the example it shows, run anew on the real images: minutes."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest
from running import cascade, close, needs_shared

from examples.kinnas2024.__main__ import main

pytest.importorskip("torch")
pytestmark = [needs_shared, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

PAGE = (Path(__file__).parents[1] / "docs" / "reproduce.md").read_text("utf-8")
SHOWN = re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)
HASHES = ("--algorithms", "dhash,invariants", "--no-profile")


def test_the_page_shows_what_the_example_prints(cifar_zoo, tmp_path, monkeypatch):
    root, _ = cifar_zoo
    cache = shutil.copytree(root / "cache", tmp_path / "cache")
    # Other tests extract some of it; the page shows a cache without.
    if (cache / "samples/dataset=cifar10/split=train").exists():
        gone = cascade("cache", "rm", "--split", "train", "--yes", "--cache", cache)
        assert gone.status == 0, gone.err
    monkeypatch.setenv("CASCADE_CACHE", str(cache))
    given = ("-d", "cifar10", "-f", root / "data", "--split", "test")
    assert cascade("hash", *given, *HASHES).status == 0
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["-d", "cifar10", "--cost", "macs"]) == 0
    found, shown = out.getvalue().splitlines(), "\n".join(SHOWN).splitlines()
    assert len(found) == len(shown)
    differing = [pair for pair in zip(shown, found, strict=True) if not close(*pair)]
    assert differing == []
