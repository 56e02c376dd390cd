"""300 seeded command lines over all commands and options: see command_lines.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
COUNT = 200


def test_no_random_command_line_is_a_fault_of_ours_or_hangs():
    # In a process of its own: what forks must not have computed anything yet.
    script = Path(__file__).parents[1] / "command_lines.py"
    ran = subprocess.run(
        [sys.executable, script, str(COUNT)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{COUNT} lines:" in ran.stdout
    assert "wrong: 0" in ran.stdout
