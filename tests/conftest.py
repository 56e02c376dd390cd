"""Fixtures for all tests; tests/helpers.py and tests/naive.py are importable by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("helpers", "naive", "running")
# A busy machine is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="module")
def one_thread():
    """Models this small run many times faster on one thread while other work shares the cores."""
    torch = pytest.importorskip("torch")
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture
def store(tmp_path):
    """An empty cache."""
    from cache import Store

    return Store(tmp_path / "cache")


@pytest.fixture
def small_cache(tmp_path):
    """Three models on `test` and `val` of the dataset `toy`: 60 images, 4 classes, many ties."""
    from helpers import make_cache

    return make_cache(tmp_path / "cache")
