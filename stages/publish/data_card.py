"""The data card of a published copy: what it holds, whence it comes, how it is read."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from cache import now, versions

# Characters that `datasets` bars from names; % makes way for their codes.
_BARRED = str.maketrans({char: f"%{ord(char):02X}" for char in r"%<>:/\|?*"})
_HYPHENS = _BARRED | {ord("-"): "%2D"}
_BAR = r"\|"  # in a table a bare one ends the cell

TIERS = {
    "scores": "samples, scores, answers and costs; no logits",
    "top10": "samples, scores, answers, costs and the ten most probable classes of each image,"
    " fewer where no more are known; no logits",
    "full": "samples, scores, costs, and logits, probabilities, classes or answers as they came",
}


@dataclass(frozen=True)
class PublishedModel:
    """One model's rows of one split; `path` is that of its scores, `trained_on` as in a manifest,
    `extra` names packages' scores."""

    model: str
    split: str
    variant: str
    runtime: str
    images: int
    path: str
    accuracy: float | None
    weights_sha256: str | None
    trained_on: Mapping[str, Any] | None
    extra: Sequence[str]


def card(dataset: str, tier: str, rows: Sequence[PublishedModel]) -> str:
    """Markdown with the front matter that Hugging Face reads."""
    extra = sorted({name for row in rows for name in row.extra})
    images = {row.split: row.images for row in rows}
    first = rows[0].split
    text = resources.files("stages.publish").joinpath("data_card.md").read_text("utf-8")
    return text.format(
        head=_head(dataset, rows),
        dataset=dataset,
        dataset_in_shell=shlex.quote(dataset),
        tier=tier,
        holds=TIERS[tier],
        extra=_EXTRA.format(names=", ".join(f"`{name}`" for name in extra)) if extra else "",
        splits=", ".join(f"{split} ({n} images)" for split, n in images.items()),
        models="\n".join(map(_row, rows)),
        first=json.dumps(first, ensure_ascii=False),
        first_in_sql=first.replace("'", "''").replace('"', '\\"'),
        made=now(),
        version=versions()["cascade-cli"] or "(a clone)",
    )


def _head(dataset: str, rows: Sequence[PublishedModel]) -> str:
    """YAML; each table is a configuration of `datasets`, which knows no Hive keys."""
    shown = [row for row in rows if row.variant == "identity"]
    counts = Counter(_named(row, _BARRED) for row in shown)
    about = {
        "license": "other",
        "license_name": "fill-in",
        "pretty_name": f"Model scores on {dataset}",
        "configs": [
            {"config_name": _config(row, counts), "data_files": f"{row.path}/*.parquet"}
            for row in shown
        ],
    }
    return yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=10_000)


def _config(row: PublishedModel, counts: Mapping[str, int]) -> str:
    """MODEL-SPLIT-RUNTIME; where two rows would share it, hyphens within the three are coded."""
    name = _named(row, _BARRED)
    return name if counts[name] == 1 else _named(row, _HYPHENS)


def _named(row: PublishedModel, codes: Mapping[int, str]) -> str:
    return "-".join(name.translate(codes) for name in (row.model, row.split, row.runtime))


def _row(row: PublishedModel) -> str:
    seen = (row.trained_on or {}).get("splits")
    trained = "unknown" if seen is None else ", ".join(seen) or "none of these splits"
    weights = (row.weights_sha256 or "unknown")[:12]
    names = (row.model, row.split, row.variant, row.runtime)
    accuracy = "no labels" if row.accuracy is None else f"{row.accuracy:.2%}"
    cells = [*names, accuracy, weights, trained]
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"


_EXTRA = """
`extra_scores` has more, by its key `score`: {names}, a row (`sample_id`, `value`) per image. What
made one, and whether large (`sign` 1) or small (−1) is sure, stands in its manifest.
"""
