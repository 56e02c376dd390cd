"""The columns that `extract`, `import` and `hash` print."""

from __future__ import annotations

LOGITS_COLUMNS = {
    "model": "model",
    "split": "split",
    "rows": "rows",
    "resumed_rows": "resumed",
    "images_per_second": "images/s:.0f",
    "accuracy": "top-1:.2%",
}


VARIANT_COLUMNS = {name: name for name in ("model", "split", "variant")} | LOGITS_COLUMNS


HASH_COLUMNS = {
    "algorithm": "hash",
    "split": "split",
    "variant": "variant",
    "rows": "rows",
    "resumed_rows": "resumed",
    "distinct": "distinct keys",
    "key_bytes": "bytes",
}
