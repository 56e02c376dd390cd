"""The example of networks under distortion against a loop over images."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from examples import distortions

THINGS = np.array(["cat", "dog", "car"])


@pytest.fixture(scope="module")
def table():
    """Two experiments, each with its clean half."""
    rng, parts = np.random.default_rng(2), []
    for experiment, conditions in (("noise", ("0.0", "0.6")), ("contrast", ("c100", "c05"))):
        for condition in conditions:
            labels, harm = rng.integers(0, 3, 80), 0.0 if condition in distortions.CLEAN else 0.4
            out = {"experiment": experiment, "condition": condition, "label": THINGS[labels]}
            for name, skill in (("small", 0.75), ("large", 0.9)):
                sure = rng.integers(1, 10, 80) / 10
                right = rng.random(80) < (skill - harm) * (0.6 + 0.6 * sure)
                answers = np.where(right, labels, (labels + 1) % 3)
                out |= {f"{name}.prediction": THINGS[answers], f"{name}.maxp": sure}
                out[f"{name}.entropy_nats"] = 1 - sure
            parts.append(pl.DataFrame(out))
    return pl.concat(parts)


def decided(rows, limit):
    """(how many are right, how often the large network runs)"""
    sent = [row["small.maxp"] < limit for row in rows]
    names = ["large" if each else "small" for each in sent]
    right = [
        row[f"{name}.prediction"] == row["label"] for name, row in zip(names, rows, strict=True)
    ]
    return sum(right), sum(sent)


def test_clean_images_fit_and_distorted_ones_tell(table):
    groups = {"clean": [], "noise": [], "contrast": []}
    for row in table.to_dicts():
        groups["clean" if row["condition"] in distortions.CLEAN else row["experiment"]].append(row)
    limits = [k / 10 + 0.05 for k in range(11)]
    # The most accurate, and of these the one that runs the large network least.
    best = max(limits, key=lambda limit: (decided(groups["clean"], limit)[0], -limit))
    found = {row.kind: row for row in distortions.held(table, ("small", "large"))}
    assert list(found) == ["clean", "contrast", "noise"]
    for kind, rows in groups.items():
        right, sent = decided(rows, best)
        alone = [
            np.mean([r[f"{m}.prediction"] == r["label"] for r in rows]) for m in ("small", "large")
        ]
        row = found[kind]
        assert (row.images, row.accuracy, row.usage) == (
            len(rows),
            right / len(rows),
            sent / len(rows),
        )
        assert (row.accuracy_1, row.accuracy_2) == pytest.approx(alone)


def test_it_prints_a_line_for_each_and_how_often_it_holds(table, tmp_path, capsys):
    table.write_parquet(tmp_path / "x.parquet")
    assert distortions.main(str(tmp_path / "x.parquet"), "small", "large") == 0
    head, clean, *_, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["images", "small", "large"]
    assert clean.startswith("clean")
    assert last.endswith("of 2 kinds of distortion")
