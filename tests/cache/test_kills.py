"""A few of the kills of `tests/kills.py`, for each command; run that for twenty of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if not hasattr(os, "fork"):
    pytest.skip("no fork on this system", allow_module_level=True)

KILLS = Path(__file__).parents[1] / "kills.py"
FEW = 3


def test_a_killed_command_leaves_what_verify_tells_and_runs_again_to_the_same_rows():
    words = [sys.executable, KILLS, str(FEW)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    head, *rows = (line.split() for line in done.stdout.splitlines())
    found = [dict(zip(head, row, strict=True)) for row in rows]
    commands = ["publish", "import", "export", "report", "merge", "rm"]
    assert [row["command"] for row in found] == commands
    for row in found:
        assert sum(int(row[state]) for state in ("before", "midway", "after")) == FEW
    assert sum(int(row["midway"]) for row in found) > len(found)
