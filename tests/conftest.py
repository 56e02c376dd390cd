"""Fixtures for all tests; tests/helpers.py and tests/naive.py are importable by name."""

from __future__ import annotations

import logging
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


@pytest.fixture(scope="session")
def cifar_zoo(tmp_path_factory):
    """(folder with data/ and cache/, extract's rows): five models on all real CIFAR-10 images."""
    torch = pytest.importorskip("torch")
    from running import IMAGES, WEIGHTS, cascade

    root = tmp_path_factory.mktemp("cifar")
    (root / "data").mkdir()
    for split in ("test", "val"):
        (root / "data" / f"{split}.parquet").symlink_to(IMAGES / f"{split}.parquet")
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    result = cascade(
        *("extract", "--dataset", "cifar10", "--data", root / "data", "--split", "test,val"),
        *("--models", "all-available", "--weights", WEIGHTS, "--cache", root / "cache", "--json"),
    )
    torch.set_num_threads(usual)
    return root, result.json["models"]


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


@pytest.fixture(scope="session")
def s3_server():
    """`host:port` of an S3 server on this machine; its credentials are in the environment."""
    server = pytest.importorskip("moto.server", reason="no moto: install the extra [test]")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def s3_root(s3_server):
    """The URI of an empty cache in a bucket of its own."""
    import uuid

    import boto3

    name = f"test-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=f"http://{s3_server}").create_bucket(Bucket=name)
    return f"s3://{name}/deep/cache?endpoint_override={s3_server}&scheme=http"


@pytest.fixture(params=["local", "s3"])
def any_store(request, tmp_path):
    """An empty cache in a folder, and one in a bucket."""
    from cache import Store

    local = request.param == "local"
    return Store(tmp_path / "cache" if local else request.getfixturevalue("s3_root"))
