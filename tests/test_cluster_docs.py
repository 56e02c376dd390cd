"""docs/cluster.md: its commands exist, with these flags, and its figures are the code's."""

from __future__ import annotations

import re
import shlex

import pytest
from running import ROOT, cascade

PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)).replace("\\\n", " ")
COMMANDS = re.findall(r"\b(cascade (?:extract|cache) .*)$", BLOCKS, re.M)


def test_the_commands_were_found():
    assert len(COMMANDS) == BLOCKS.count("cascade extract") + BLOCKS.count("cascade cache") == 6


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_flags_exist(command):
    words = shlex.split(command, comments=True)[1:]
    name = words[:2] if words[0] == "cache" else words[:1]
    told = cascade(*name, "--help")
    assert told.status == 0, told.err
    flags = set(re.findall(r"(?<![\w-])--?\w[\w-]*", told.out))
    assert {word for word in words if word.startswith("-")} <= flags


def test_the_flags_in_the_text_exist():
    told = cascade("extract", "--help").out
    ours = re.findall(r"`(--[\w-]+)", re.sub(r"^```.*?^```$", "", PAGE, flags=re.M | re.S))
    assert {"--shard", "--devices", "--ray-workers"} <= set(ours)
    for flag in set(ours):
        assert re.search(rf"{flag}\b", told), flag


def test_figures():
    pytest.importorskip("torch")
    from cache import PART_ROWS
    from stages.extract.ray_engine import Maker

    assert f"({PART_ROWS:,} unless given)" in PAGE
    assert -(-50_000 // PART_ROWS) == 7
    assert "seven parts" in PAGE
    assert Maker.tries == 4
    assert "ends four workers" in PAGE
