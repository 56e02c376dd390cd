"""docs/results-cifar10.md against the commands it shows, run anew on the real images: minutes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from running import cascade, close, needs_shared

pytest.importorskip("torch")
pytestmark = [needs_shared, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

PAGE = Path(__file__).parents[1] / "docs" / "results-cifar10.md"
SHOWN = re.findall(
    r"^```sh\n([^`]*)\n```\n\n```text\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S
)


def test_lines_that_differ_are_told_apart():
    line = SHOWN[1][1].splitlines()[1]
    assert close(line, line)
    assert not close(line, line.replace("resnet32", "resnet20"))
    assert not close(line, re.sub(r"\d\d\.\d\d%", "88.00%", line))


def test_the_page_shows_four_commands():
    assert [shlex.split(command)[1] for command, _ in SHOWN] == [
        *("search", "rules", "calibrate", "heterogeneity"),
    ]


@pytest.mark.parametrize(("command", "text"), SHOWN, ids=lambda text: text.split()[1])
def test_tables_are_those_of_the_page(cifar_zoo, command, text, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # where sentences wrap
    done = cascade(*shlex.split(command)[1:], "--cache", cifar_zoo[0] / "cache")
    assert done.status == 0, done.err
    shown, found = text.splitlines(), done.out.splitlines()
    assert len(shown) == len(found)
    differing = [pair for pair in zip(shown, found, strict=True) if not close(*pair)]
    assert differing == []
