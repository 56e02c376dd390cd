"""What changes between two runs of extract, what cannot be read, and what makes no sense."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import (
    cascade,
    logits_of,
    manifest_of,
    noise_images,
    png,
    seeded_weights,
    write_folders,
)

from cache import Store, find, read_table
from cache.upkeep import verify

torch = pytest.importorskip("torch")

from stages.runtimes import Runner  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

N = 40
PARTS = ("--batch-size", 4, "--part-rows", 8)
BAD = 21


@pytest.fixture
def weights(tmp_path):
    for seed, name in enumerate(("resnet20", "shufflenetv2_x0_5")):
        seeded_weights(tmp_path / "w" / f"{name}.pt", name, seed)
    return tmp_path / "w"


def jpeg(picture):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "jpeg", quality=90)
    return stream.getvalue()


def folders(root):
    """40 PNGs, of which one is cut."""
    write_folders(root, "test", *noise_images(N))
    path = sorted((root / "test").rglob("*.png"))[BAD]
    path.write_bytes(path.read_bytes()[:700])
    return path.relative_to(root).as_posix()


def parquet(root):
    """40 JPEGs, of which one is cut."""
    pictures, labels = noise_images(N)
    images = [jpeg(picture) for picture in pictures]
    images[BAD] = images[BAD][: len(images[BAD]) // 2]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": each, "path": None} for each in images], kind)
    root.mkdir()
    pq.write_table(pa.table({"img": rows, "label": labels}), root / "test.parquet")
    return f"test.parquet#{BAD}"


def extract(data, weights, root, *more):
    args = ("extract", "-d", "cifar10", "-f", data, "--weights", weights, *PARTS)
    return cascade(*args, "--cache", root, *more)


def receipts(root):
    return sorted((root / ".tmp" / "receipts").rglob("*.json"))


# --- images that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize("make", [folders, parquet])
def test_an_unreadable_image_is_named_and_what_was_done_is_kept(make, weights, tmp_path):
    key = make(tmp_path / "images")
    line = extract(tmp_path / "images", weights, tmp_path / "c").refusal
    assert key.replace("#", ": row ") in line
    assert f"sample {BAD}" in line
    assert "runcated" in line
    assert not find(Store(tmp_path / "c"), "logits")
    done = len(receipts(tmp_path / "c")) / 4  # of two models, logits and timings
    assert done >= BAD // 8 - 1


@pytest.mark.parametrize("make", [folders, parquet])
def test_a_skipped_image_is_left_out_of_every_model_and_later_command(make, weights, tmp_path):
    key = make(tmp_path / "images")
    root, given = tmp_path / "c", ("-f", tmp_path / "images")
    assert extract(tmp_path / "images", weights, root).status == 2  # no --overwrite after that
    result = extract(tmp_path / "images", weights, root, "--unreadable", "skip", "--json")
    assert [row["rows"] for row in result.json["models"]] == [N - 1] * 2
    assert f"left out: image {BAD} of cifar10/test: " in result.err
    samples = manifest_of(root, "samples", "test", dataset="cifar10")
    [[left, reason]] = samples.provenance["left_out"]
    assert left == key
    assert "runcated" in reason
    keys = read_table(Store(root), samples).column("key").to_pylist()
    assert len(keys) == N - 1
    assert key not in keys
    assert verify(Store(root)).damage == []

    pair = ("-m1", "resnet20", "-m2", "shufflenetv2_x0_5", "--cache", root)
    scored = cascade("score", "-d", "cifar10", "--cache", root, "--json").json["models"]
    assert [row["rows"] for row in scored] == [N - 1] * 2
    assert cascade("threshold", *pair, "--json").json["rows"]
    assert cascade("simulate", *pair, "-t", "0.5", "--json").json["n"] == N - 1
    asked = ("--algorithms", "dhash", "--no-profile", "--cache", root, "--json")
    hashed = cascade("hash", "-d", "cifar10", *given, *asked)
    assert [row["rows"] for row in hashed.json["hashes"]] == [N - 1]
    live = cascade("live", *pair, "-t", "0.5", *given, "--weights", weights, "--json").json
    assert live["n"] == N - 1
    assert live["agreement"]["outside_noise"] == 0
    again = extract(tmp_path / "images", weights, root, "--json")
    assert [row["resumed_rows"] for row in again.json["models"]] == [N - 1] * 2
    assert "left out of cifar10/test as before: 1 image" in again.err


def test_rows_of_the_rest_are_those_of_the_rest(weights, tmp_path):
    """Against the same images in a folder that never had the bad one."""
    key = folders(tmp_path / "images")
    extract(tmp_path / "images", weights, tmp_path / "c", "--unreadable", "skip")
    (tmp_path / "images" / key).unlink()
    extract(tmp_path / "images", weights, tmp_path / "d")
    for model in ("resnet20", "shufflenetv2_x0_5"):
        left, right = (logits_of(tmp_path / c, "test", model, "cifar10")[1] for c in "cd")
        np.testing.assert_array_equal(left, right)


def test_a_mended_image_comes_back_with_overwrite(weights, tmp_path):
    key = folders(tmp_path / "images")
    root = tmp_path / "c"
    extract(tmp_path / "images", weights, root, "--unreadable", "skip")
    (tmp_path / "images" / key).write_bytes(png(noise_images(N)[0][BAD]))
    rows = extract(tmp_path / "images", weights, root, "--json").json["models"]
    assert [row["rows"] for row in rows] == [N - 1] * 2
    rows = extract(tmp_path / "images", weights, root, "--overwrite", "--json").json["models"]
    assert [(row["rows"], row["resumed_rows"]) for row in rows] == [(N, 0)] * 2
    assert manifest_of(root, "samples", "test", dataset="cifar10").provenance["left_out"] == []
    assert verify(Store(root)).damage == []


def test_a_mended_image_goes_on_where_the_run_stopped(weights, tmp_path):
    key = folders(tmp_path / "images")
    root = tmp_path / "c"
    extract(tmp_path / "images", weights, root)
    (tmp_path / "images" / key).write_bytes(png(noise_images(N)[0][BAD]))
    rows = extract(tmp_path / "images", weights, root, "--json").json["models"]
    assert all(8 <= row["resumed_rows"] <= BAD for row in rows)


def test_a_damaged_samples_manifest_still_tells_what_was_left_out(weights, tmp_path):
    folders(tmp_path / "images")
    root = tmp_path / "c"
    extract(tmp_path / "images", weights, root, "--unreadable", "skip")
    manifest = root / "_manifests" / "samples" / "dataset=cifar10" / "split=test.json"
    manifest.write_bytes(manifest.read_bytes()[:-40])
    rows = extract(tmp_path / "images", weights, root, "--json").json["models"]
    assert [row["resumed_rows"] for row in rows] == [N - 1] * 2
    assert verify(Store(root)).damage == []


def test_costs_are_measured_on_the_images_that_can_be_read(weights, tmp_path):
    write_folders(tmp_path / "images", "test", *noise_images(N))
    for path in sorted((tmp_path / "images" / "test").rglob("*.png"))[:2]:
        path.write_bytes(b"")
    args = ("-d", "cifar10", "-f", tmp_path / "images", "--weights", weights)
    args += ("--models", "resnet20", "--cache", tmp_path / "c", "--unreadable", "skip")
    assert cascade("extract", *args, profile=True).status == 0
    components = {row["component"] for row in costs(tmp_path / "c")}
    assert components == {"forward", "preprocess"}


def costs(root):
    [manifest] = find(Store(root), "costs")
    return read_table(Store(root), manifest).to_pylist()


def test_another_policy_is_one_line(weights, tmp_path):
    folders(tmp_path / "images")
    line = extract(tmp_path / "images", weights, tmp_path / "c", "--unreadable", "maybe").refusal
    assert "maybe" in line
    assert "stop, skip" in line


# --- other inputs --------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    return write_folders(tmp_path / "images", "test", *noise_images(N))


def rotten(weights, monkeypatch, after):
    """Forward passes that end a run in its middle."""
    calls, forward = iter(range(after)), Runner.logits

    def logits(self, batch):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return forward(self, batch)

    monkeypatch.setattr(Runner, "logits", logits)


def half(images, weights, root, *more):
    """A run of resnet20 that ends after some parts."""
    with pytest.MonkeyPatch.context() as patch:
        rotten(weights, patch, 1 + 6)
        assert extract(images, weights, root, "--models", "resnet20", *more).status == 130
    assert receipts(root)


def changes(images, weights, tmp_path):
    """{what differs: arguments (images, weights, more)}."""
    other = seeded_weights(tmp_path / "v" / "resnet20.pt", seed=7).parent
    turned = tmp_path / "turned"
    write_folders(turned, "test", noise_images(N)[0][::-1], noise_images(N)[1])
    for path in (turned / "test" / "airplane").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    return {
        "weights_sha256": (images, other, ()),
        "dataset_fingerprint": (turned, weights, ()),
        "decoder": (images, weights, ("--decoder", "torchcodec")),
    }


@pytest.mark.parametrize("what", ["weights_sha256", "dataset_fingerprint", "decoder"])
def test_complete_rows_are_not_mixed_with_others(what, images, weights, tmp_path):
    if what == "decoder":
        pytest.importorskip("torchcodec")
    root, only = tmp_path / "c", ("--models", "resnet20")
    extract(images, weights, root, *only)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    *given, more = changes(images, weights, tmp_path)[what]
    line = extract(*given, root, *only, *more).refusal
    assert f"{what} was " in line
    assert "--overwrite" in line
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    [row] = extract(*given, root, *only, *more, "--overwrite", "--json").json["models"]
    assert (row["rows"], row["resumed_rows"]) == (N, 0)
    fresh(root, given, only, more, tmp_path)


@pytest.mark.parametrize("what", ["weights_sha256", "decoder"])
def test_unfinished_rows_are_not_mixed_with_others(what, images, weights, tmp_path):
    if what == "decoder":
        pytest.importorskip("torchcodec")
    root, only = tmp_path / "c", ("--models", "resnet20")
    half(images, weights, root)
    *given, more = changes(images, weights, tmp_path)[what]
    line = extract(*given, root, *only, *more).refusal
    assert "parts of logits of dataset cifar10" in line
    assert f"{what} was " in line
    assert "--overwrite" in line
    assert receipts(root)
    result = extract(*given, root, *only, *more, "--overwrite", "--json")
    assert [(r["rows"], r["resumed_rows"]) for r in result.json["models"]] == [(N, 0)]
    assert f"{what} was " in result.err
    fresh(root, given, only, more, tmp_path)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("batch_size was 4, now 5", ("--batch-size", 5)),
        ("part_rows was 8, now 9", ("--part-rows", 9)),
    ],
)
def test_unfinished_rows_made_otherwise_are_told_and_made_again(
    what, change, images, weights, tmp_path
):
    root, only = tmp_path / "c", ("--models", "resnet20")
    half(images, weights, root)
    result = extract(images, weights, root, *only, *change, "--json")
    assert [(r["rows"], r["resumed_rows"]) for r in result.json["models"]] == [(N, 0)]
    assert what in result.err
    assert "made again" in result.err
    fresh(root, (images, weights), only, change, tmp_path)


def test_a_damaged_partition_made_otherwise_is_told(images, weights, tmp_path):
    root, only = tmp_path / "c", ("--models", "resnet20")
    extract(images, weights, root, *only)
    next(root.glob("logits/**/part-00001.parquet")).unlink()
    result = extract(images, weights, root, *only, "--batch-size", 3, "--json")
    assert [r["resumed_rows"] for r in result.json["models"]] == [0]
    assert "is damaged, and was made otherwise (batch_size was 4, now 3)" in result.err


def test_other_images_of_an_unfinished_run_are_told(images, weights, tmp_path):
    root, only = tmp_path / "c", ("--models", "resnet20")
    half(images, weights, root)
    next((images / "test").rglob("*.png")).unlink()
    result = extract(images, weights, root, *only, "--json")
    assert [(r["rows"], r["resumed_rows"]) for r in result.json["models"]] == [(N - 1, 0)]
    assert "dataset_fingerprint was " in result.err
    fresh(root, (images, weights), only, (), tmp_path)


def fresh(root, given, only, more, tmp_path):
    """The cache is as sound as a new one, and has its rows."""
    assert extract(*given, tmp_path / "new", *only, *more).status == 0
    for left, right in zip(
        logits_of(root, "test", "resnet20", "cifar10"),
        logits_of(tmp_path / "new", "test", "resnet20", "cifar10"),
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)
    report = verify(Store(root))
    assert (report.damage, list(report.survey.strays), report.survey.unfinished) == ([], [], ())


# --- what makes no sense -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--shard", "3/3"), "'3/3'"),
        (("--shard", "-1/3"), "'-1/3'"),
        (("--shard", "0/0"), "'0/0'"),
        (("--shard", "x/y"), "i/n"),
        (("--shard", "1"), "i/n"),
        (("--shard", "0/3/4"), "i/n"),
        (("--devices", "nonsense"), "nonsense"),
        (("--devices", ","), "names nothing"),
        (("--devices", "99"), "cuda:99"),
        (("--devices", "cpu,meta"), "meta"),
        (("--engine", "nonsense"), "choose from local, ray"),
        (("--ray-workers", "2"), "--engine ray"),
        (("--models", "../x"), "../x"),
        (("--models", "digits_wide,/etc/passwd"), "/etc/passwd"),
        (("--models", "file:../x.pt2"), "x.pt2"),
        (("--model", "../x=digits_wide:w.pt"), "../x"),
        (("-d", "../x", "-f", "."), "../x"),
        (("--split", "../x"), "../x"),
        (("--variants", "../x"), "../x"),
        (("--decoder", "../x"), "../x"),
        (("--precision", "../x"), "../x"),
        (("--part-rows", "0"), "--part-rows"),
        (("--batch-size", "-1"), "--batch-size"),
        (("--workers", "100000"), "--workers"),
    ],
    ids=" ".join,
)
def test_absurd_requests_are_one_line_and_touch_nothing(flags, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = cascade("extract", *flags, "--cache", tmp_path / "cache").refusal
    assert said in line
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "cache"])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
