"""What a wheel holds besides code: the data files that the packages read."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["cascade_cli", "stages", "cache"]


def git(*arguments):
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if run.returncode == 128:
        pytest.skip("not a clone")
    return run.stdout.splitlines()


def test_wheels_hold_every_data_file():
    """hatchling takes all below its packages but what git would ignore, tracked or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": PACKAGES}
    files = [file for file in git("ls-files", *PACKAGES) if not file.endswith((".py", ".pyi"))]
    assert "stages/models/shipped/digits_wide.pt" in files
    assert git("check-ignore", "--no-index", *files) == []
