"""Command lines that make what a cache lacks, or holds damaged.

A word in capitals stands for what only the user knows.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from cache import Store
from cache.store import default_root

Words = list[str]

IMPORTED = "import"  # the runtime of logits that came without one
_TORCH = re.compile(r"torch-(fp32|tf32|bf16|fp16)-([a-z]+)")


def line(store: Store, words: Sequence[str]) -> str:
    """`cascade WORDS`, on this cache."""
    where = [] if store.root == default_root() else ["--cache", store.root]
    return shlex.join(["cascade", *words, *where])


def extract(
    dataset: str, split: str, models: str, variant: str = "identity", runtime: str | None = None
) -> Words:
    """Of models separated by commas."""
    turned = [] if variant == "identity" else ["--variants", variant]
    what = ["--split", split, "--models", models]
    return ["extract", *images(dataset), *what, *turned, *in_runtime(runtime)]


def named(model: str, said: Mapping[str, Any]) -> str:
    """The model as `extract` takes it, by what is said of its logits."""
    own = said.get("weights_origin") == "file"
    return f"{model}={said.get('architecture')}:FILE" if own else model


def bring_in(dataset: str, split: str, model: str, labels: bool) -> Words:
    """`import` of one model's logits, with labels where the cache has none."""
    words = ["import", "--dataset", dataset, "--split", split, "--model", model, "--logits", "FILE"]
    return [*words, "--labels", "FILE"] if labels else words


def hashes(dataset: str, split: str, variant: str, algorithm: str) -> Words:
    what = ["--split", split, "--variants", variant, "--algorithms", algorithm]
    return ["hash", *images(dataset), *what]


def images(dataset: str) -> Words:
    """The dataset, and where its images are; the digits come along with scikit-learn."""
    return ["--dataset", dataset] + ([] if dataset == "digits" else ["--data", "DIR"])


def in_runtime(runtime: str | None) -> Words:
    """The options that `extract` and `profile` run in it with; none where they cannot."""
    found = _TORCH.fullmatch(runtime or "")
    return ["--precision", found[1], "--device", found[2]] if found else []
