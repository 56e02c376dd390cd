"""docs/datasets.md says what the code knows, and its examples run."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from stages.datasets import ListedDataset, listing, spec
from stages.datasets.decode import DECODERS
from stages.datasets.registry import built_in

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for cells in [line.strip("|").split("|")]
}


@pytest.mark.parametrize("row", listing(), ids=lambda row: row.name)
def test_every_dataset_has_its_row_and_its_section(row: ListedDataset) -> None:
    classes, splits, download, expects = ROWS[row.name]
    assert int(classes.replace(",", "")) == row.classes
    assert splits.split(", ") == row.splits
    assert (download == "yes") == row.download
    assert f"\n## {row.name}\n" in PAGE
    known = spec(row.name)
    numbers = [float(n) for n in re.findall(r"\d\.\d+", expects)]
    if numbers:
        stated = [*known.mean, *known.std]
        assert numbers == (stated if len(numbers) == 6 else [known.mean[0], known.std[0]])
        assert f"{row.height}×{row.width}" in expects


def test_every_layout_and_decoder_is_described() -> None:
    for layout in built_in():
        assert layout.name in ROWS
    for decoder in DECODERS:
        assert f"`--decoder {decoder}`" in PAGE


def test_the_examples_give_what_they_show() -> None:
    [block] = re.findall(r"```pycon\n(.*?)```", PAGE, re.DOTALL)
    example = doctest.DocTestParser().get_doctest(block, {}, "datasets.md", None, 0)
    assert len(example.examples) == 5
    assert doctest.DocTestRunner().run(example).failed == 0
