"""A cache on an S3 server: published whole or not at all, tried again, or refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import numpy as np
import pytest
from full_cache import KEYS, LABELS, N, everything, full_cache, logits_of, write_model
from helpers import RUNTIME, make_cache, write_samples
from running import cascade

from cache import InputError, Partition, Store, find, load, read_table
from cache.upkeep import verify
from stages.scores import load as load_scores

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


@pytest.fixture
def there(s3_root):
    return Store(s3_root)


@pytest.fixture
def client(s3_server):
    return boto3.client("s3", endpoint_url=f"http://{s3_server}")


def bucket_of(root):
    return root.split("/")[2]


def test_objects_come_back(there):
    for size in (0, 1, 5 * MIB, 17 * MIB + 1):
        data = os.urandom(size)
        there.write("a/b", data)
        assert there.read("a/b").to_pybytes() == data
        assert [(e.path, e.size_bytes) for e in there.entries("a")] == [("a/b", size)]
    assert (there.exists("a/b"), there.exists("a"), there.files("c")) == (True, False, [])
    there.delete("a/b")
    there.delete("a/b")
    assert there.files("") == []
    with pytest.raises(FileNotFoundError):
        there.read("a/b")


def test_a_bucket_of_ones_own(s3_root):
    root = s3_root.replace("/deep/cache?", "?")
    store = full_cache(root)
    assert verify(store).damage == []
    assert all(path.split("/")[0] not in ("deep", "cache") for path in everything(store))


def test_the_endpoint_may_stand_in_the_environment(s3_root, s3_server, monkeypatch):
    make_cache(s3_root, splits=("test",))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3_server}")
    plain = s3_root.partition("?")[0]
    assert len(find(Store(plain), "logits")) == 3
    assert len(cascade("cache", "ls", "--cache", plain, "--json").json["partitions"]) == 4


def test_the_same_rows_as_in_a_folder(s3_root, tmp_path):
    here, there = full_cache(tmp_path), full_cache(s3_root)
    files = everything(here)
    assert everything(there).keys() == files.keys()
    for place in (m.partition for table in ("samples", "logits") for m in find(here, table)):
        ours, theirs = (read_table(store, load(store, place)) for store in (here, there))
        assert ours.equals(theirs)


def test_later_stages_on_it(s3_root):
    make_cache(s3_root)
    where = ("--dataset", "toy", "--cache", s3_root)
    for command in ("score", "heterogeneity"):
        assert cascade(command, *where).status == 0
    pair = ("-m1", "small", "-m2", "large")
    found = cascade("simulate", *pair, *where, "--json").json
    assert found["n"] == 60
    assert cascade("cache", "verify", "--cache", s3_root).status == 0


# Interruption


HALF = """
import os, sys
from cache import Store
store = Store(sys.argv[1])
with store._fs.open_output_stream(store._full("whole")) as file:
    file.write(os.urandom(12 << 20))
    file.flush()
    print("half", flush=True)
    sys.stdin.readline()
"""


def test_a_process_killed_in_an_upload_leaves_nothing_to_see(s3_root, there, client):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HALF, s3_root]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert there.files("") == []
    left = client.list_objects_v2(Bucket=bucket_of(s3_root)).get("Contents", [])
    assert left == []


class Interrupted:
    """An upload that Ctrl-C meets after half of the data."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(memoryview(data)[: len(data) // 2])
        raise KeyboardInterrupt


class Filesystem:
    def __init__(self, inner):
        self.inner = inner

    def open_output_stream(self, path):
        return Interrupted(self.inner.open_output_stream(path))

    def __getattr__(self, name):
        return getattr(self.inner, name)


@pytest.mark.parametrize("size", [100, 12 * MIB])
@pytest.mark.parametrize("before", [None, b"older"])
def test_an_upload_that_is_interrupted_is_not_there(there, size, before):
    """pyarrow publishes what it has when a stream is closed; an older object is never lost."""
    if before:
        there.write("a", before)
    usual, there._fs = there._fs, Filesystem(there._fs)
    with pytest.raises(KeyboardInterrupt):
        there.write("a", os.urandom(size))
    there._fs = usual
    assert not there.exists("a")


def test_an_interrupted_run_goes_on(there):
    write_samples(there, "test", LABELS)
    write_model(there, "small", parts=(0,))
    usual, there._fs = there._fs, Filesystem(there._fs)
    with pytest.raises(KeyboardInterrupt):
        write_model(there, "small", parts=(1,))
    there._fs = usual
    write_model(there, "small", parts=(0, 1, 2))
    table = read_table(
        there, load(there, Partition.of("logits", **KEYS, runtime=RUNTIME, model="small"))
    )
    assert table.column("sample_id").to_pylist() == list(range(N))
    rows = np.array(table.column("logits").to_pylist(), np.float32)
    assert rows.tobytes() == logits_of("small").tobytes()


# Servers that fail


@pytest.fixture
def flaky(s3_server):
    """(host:port of a server that answers 503 while told to, the telling)."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    inner = DomainDispatcherApplication(create_backend_app)
    failing = {"left": 0, "failed": 0}

    def app(environ, start_response):
        if failing["left"] > 0:
            failing["left"] -= 1
            failing["failed"] += 1
            start_response("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        return inner(environ, start_response)

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", failing
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_that_fails_is_tried_again(flaky, s3_root, s3_server):
    address, failing = flaky
    store = Store(s3_root.replace(s3_server, address))
    for act in (
        lambda: store.write("a", b"data"),
        lambda: store.read("a").to_pybytes(),
        lambda: store.files(""),
        lambda: store.exists("a"),
        lambda: store.delete("a"),
    ):
        failing["left"] = 1
        act()
    assert failing["failed"] == 5


def test_a_server_that_keeps_failing_is_one_line(flaky, s3_root, s3_server):
    address, failing = flaky
    store = Store(s3_root.replace(s3_server, address))
    failing["left"] = 40  # pyarrow tries about 30 times, for 6 seconds
    with pytest.raises(InputError, match="cannot write the cache s3://") as error:
        store.write("a", b"data")
    assert "\n" not in str(error.value)
    failing["left"] = 0
    assert store.files("") == []


@pytest.mark.parametrize(
    ("root", "words"),
    [
        (
            "s3://no-such-bucket/x?endpoint_override={server}&scheme=http",
            "there is no bucket no-such",
        ),
        ("s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http", "Could not connect to server"),
        ("s3://", "names no bucket"),
        ("s3://bucket/x?nonsense=1", "nonsense"),
        ("nosuch://bucket/x", "nosuch"),
    ],
)
@pytest.mark.parametrize("command", [("cache", "ls"), ("score", "-d", "toy")])
def test_what_cannot_be_opened(command, root, words, s3_server):
    told = cascade(*command, "--cache", root.format(server=s3_server)).refusal
    assert told.startswith("cascade: cannot open the cache")
    assert words in told
    assert len(told) < 700


def test_a_file_uri_is_a_folder(tmp_path):
    store = full_cache(f"file://{tmp_path}/cache")
    assert store.local
    assert everything(store) == everything(Store(tmp_path / "cache"))
    assert load_scores(store, "toy", "test").models == ("large", "small")


# Reading what changes


def test_an_object_replaced_while_it_is_read(there, monkeypatch):
    """The size is asked for first: a longer one comes back cut, and is read again."""
    store = there
    write_samples(store, "test", LABELS)
    place = Partition.of("samples", dataset="toy", split="test")
    whole, usual, reads = load(store, place), Store.read, []

    def cut(self, path):
        data = usual(self, path)
        reads.append(path)
        return data.slice(0, data.size // 2) if len(reads) == 1 else data

    monkeypatch.setattr(Store, "read", cut)
    assert load(store, place) == whole
    assert len(reads) == 2


def test_many_at_a_time_in_order(there):
    seen = []

    def note(item):
        seen.append(threading.get_ident())
        return item * 2

    assert there.each(note, range(100)) == list(range(0, 200, 2))
    assert len(set(seen)) > 1
    with pytest.raises(InputError, match="x"):
        there.each(_refuse, [1, 2])


def _refuse(_):
    raise InputError("x")
