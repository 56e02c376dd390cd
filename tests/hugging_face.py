"""What `datasets` reads of a cache."""

from __future__ import annotations

import tempfile
from unittest import mock

import pytest


def hugging_face(*args, **options):
    """What `datasets` loads, without asking anybody; its own copy goes when this is done."""
    datasets = pytest.importorskip("datasets", reason="no datasets: install the extra [test]")
    datasets.disable_progress_bars()
    with (
        mock.patch.object(datasets.config, "HF_HUB_OFFLINE", True),
        tempfile.TemporaryDirectory() as folder,
    ):
        found = datasets.load_dataset(
            *args, split="train", cache_dir=folder, keep_in_memory=True, **options
        )
        return found.with_format("numpy")
