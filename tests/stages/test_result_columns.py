"""What is saved of a result: its dataclass, its file and docs/cache.md have the same columns."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running import cascade
from three_models import make

from stages.calibration import ModelCalibration, ReliabilityBin
from stages.heterogeneity.pairwise import PairDiversity
from stages.heterogeneity.prediction import GainPredictor, MeasuredGain

PAGE = (Path(__file__).parents[2] / "docs" / "cache.md").read_text(encoding="utf-8")
ROWS = {
    "calibrate": ModelCalibration,
    "reliability": ReliabilityBin,
    "heterogeneity": PairDiversity,
    "predictors": GainPredictor,
    "gains": MeasuredGain,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root, _, _ = make(tmp_path_factory.mktemp("columns") / "cache")
    for command in ("calibrate", "heterogeneity", "heterogeneity --predict"):
        cascade(*command.split(), "-d", "toy", "--cache", root)
    return root / "results"


def columns(stage):
    """Those of its dataclass without what the folders' names say."""
    return [name for name in ROWS[stage].types() if name != "split"]


@pytest.mark.parametrize("stage", ROWS)
def test_the_fields_are_the_columns_of_the_file_in_order(results, stage):
    [file] = (results / stage).rglob("*.parquet")
    assert pq.read_schema(file).names == columns(stage)


@pytest.mark.parametrize("stage", ROWS)
def test_the_fields_are_those_that_the_page_lists(stage):
    parts = re.split(r"\n\n(?=\*\*results/|## )", PAGE)
    [part] = [part for part in parts if f"**results/{stage}**" in part]
    listed = []
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and (len(cells) == 2 or cells[1] in (stage, "both")):
            listed += re.findall(r"`(\w+)`", cells[0])
    assert sorted(listed) == sorted(columns(stage))
