"""Extraction against plain torch loops; interruptions, damage, changed inputs."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from running import (
    CLASSES,
    DIGITS,
    IMAGES,
    RUNTIME,
    WEIGHTS,
    cascade,
    logits_of,
    manifest_of,
    needs_shared,
    noise_images,
    seeded_weights,
    slice_of,
    write_archive,
    write_folders,
    write_parquet,
)

from cache import InputError, Store, find, read_table

torch = pytest.importorskip("torch")
transforms = pytest.importorskip("torchvision.transforms")

from few_digits import PAIR, N, counting, few_digits, run  # noqa: E402
from PIL import Image  # noqa: E402

from stages.models import (  # noqa: E402
    build,
    choose,
    get,
)
from stages.models.weights import SHIPPED  # noqa: E402
from stages.runtimes import Runner  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_loop(module, transform, pictures, batch):
    """float32 [N, K] by torch and torchvision alone."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(pictures), batch):
            inputs = torch.stack([transform(p) for p in pictures[start : start + batch]])
            rows.append(module(inputs))
    return torch.cat(rows).numpy()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The cache of an uninterrupted run of PAIR over few_digits."""
    root = tmp_path_factory.mktemp("whole")
    run(root)
    return root


# --- the rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIGITS)
def test_digits_rows_equal_a_plain_torch_loop(name, tmp_path):
    run(tmp_path, models=(name,))
    spec, source = get(name), few_digits()
    module = build(name)
    module.load_state_dict(torch.load(SHIPPED / spec.shipped, weights_only=True))
    normalise = transforms.Normalize(spec.preprocessing.mean, spec.preprocessing.std)
    transform = transforms.Compose([transforms.ToTensor(), normalise])
    pictures = [Image.fromarray(p) for p in source.pictures]
    ids, rows = logits_of(tmp_path, "test", name)
    assert ids.tolist() == list(range(N))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, plain_loop(module, transform, pictures, 16), atol=2e-5)


@needs_shared
def test_cifar_rows_equal_a_plain_torch_loop(tmp_path):
    data = slice_of("test", 220, tmp_path / "data")
    models = ("resnet20", "shufflenetv2_x0_5")
    result = cascade(
        *("extract", "-d", "cifar10", "-f", data, "--split", "test", "--models", ",".join(models)),
        *("--weights", WEIGHTS, "--batch-size", 50, "--part-rows", 128),
        *("--cache", tmp_path / "cache", "--json"),
    )
    table = pq.read_table(IMAGES / "test.parquet").slice(0, 220).to_pylist()
    pictures = [Image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB") for row in table]
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    for name, row in zip(models, result.json["models"], strict=True):
        module = build(name)
        module.load_state_dict(torch.load(WEIGHTS / f"{name}.pt", weights_only=True))
        expected = plain_loop(module, transform, pictures, 50)
        _, rows = logits_of(tmp_path / "cache", "test", name, "cifar10")
        np.testing.assert_allclose(rows, expected, atol=1e-4)
        right = np.mean(expected.argmax(axis=1) == [row["label"] for row in table])
        assert row["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize(("batch", "part"), [(1, 8192), (7, 50), (64, 64), (200, 3), (999, 10**12)])
def test_batches_and_parts_of_any_size_give_the_same_rows(batch, part, whole, tmp_path):
    [row, _] = run(tmp_path, batch_size=batch, part_rows=part)
    assert (row.rows, row.resumed_rows) == (N, 0)
    for name in PAIR:
        ids, rows = logits_of(tmp_path, "test", name)
        assert ids.tolist() == list(range(N))
        np.testing.assert_allclose(rows, logits_of(whole, "test", name)[1], atol=2e-5)
    parts = manifest_of(tmp_path, "logits", "test", PAIR[0]).parts
    assert [p.rows for p in parts] == [min(part, N - start) for start in range(0, N, part)]


def test_three_layouts_of_the_same_pictures_give_the_same_rows(tmp_path):
    pictures, labels = noise_images(60)
    places = {
        "parquet": write_parquet(tmp_path / "p", "test", pictures, labels),
        "folder": write_folders(tmp_path / "f", "test", pictures, labels),
        "archive": write_archive(tmp_path / "a", pictures, labels),
        "archive itself": tmp_path / "a" / "cifar-10-batches-py",
    }
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt").parent
    rows = {}
    for name, data in places.items():
        args = ("extract", "-d", "cifar10", "-f", data, "--models", "resnet20")
        result = cascade(*args, "--weights", weights, "--cache", tmp_path / name, "--json")
        assert [row["split"] for row in result.json["models"]] == ["test"]
        _, rows[name] = logits_of(tmp_path / name, "test", "resnet20", "cifar10")
    for name in places:
        np.testing.assert_array_equal(rows[name], rows["parquet"], err_msg=name)


def test_each_picture_is_decoded_once_for_all_models(tmp_path):
    source = counting(few_digits())
    run(tmp_path, source, models=DIGITS)
    assert source.reads == Counter(range(N))


def test_several_splits_and_aliases_in_one_run(tmp_path):
    fine = seeded_weights(tmp_path / "ft.pt", "digits_wide", seed=3)
    result = cascade(
        *("extract", "--split", "val,test", "--models", "digits_wide"),
        *("--model", f"small=digits_wide:{fine}", "--cache", tmp_path, "--json"),
    )
    rows = {(row["model"], row["split"]): row for row in result.json["models"]}
    assert set(rows) == {(m, s) for m in ("digits_wide", "small") for s in ("val", "test")}
    own, alias = (logits_of(tmp_path, "test", name)[1] for name in ("digits_wide", "small"))
    assert np.abs(own - alias).max() > 0.1
    assert (
        manifest_of(tmp_path, "logits", "test", "small").identity["architecture"] == "digits_wide"
    )


def test_an_alias_lives_beside_its_architecture(tmp_path):
    pictures, labels = noise_images(30)
    data = write_parquet(tmp_path / "data", "test", pictures, labels)
    seeded_weights(tmp_path / "w" / "resnet20.pt")
    fine = seeded_weights(tmp_path / "ft.pt", seed=1)
    args = ("extract", "-d", "cifar10", "-f", data, "--models", "resnet20", "--cache", tmp_path)
    result = cascade(*args, "--model", f"small=resnet20:{fine}", "--weights", tmp_path / "w")
    assert result.status == 0, result.err
    own, alias = (
        manifest_of(tmp_path, "logits", "test", m, "cifar10") for m in ("resnet20", "small")
    )
    assert own.identity["weights_sha256"] != alias.identity["weights_sha256"]
    assert own.identity["architecture"] == alias.identity["architecture"] == "resnet20"


def test_the_flags_of_a_pair_with_weights_files(tmp_path):
    files = [seeded_weights(tmp_path / f"{n}.pt", n, seed=5) for n in PAIR]
    given = ("-m1", PAIR[0], "-m2", PAIR[1], "-w1", files[0], "-w2", files[1])
    result = cascade("extract", *given, "--split", "val", "--cache", tmp_path, "--json")
    assert [row["model"] for row in result.json["models"]] == list(PAIR)
    assert manifest_of(tmp_path, "logits", "val", PAIR[0]).provenance["weights_origin"] == "file"


# --- timings and provenance ----------------------------------------------------------------------


def test_one_timing_per_batch(whole):
    for name in PAIR:
        table = read_table(Store(whole), manifest_of(whole, "timings", "test", name)).to_pydict()
        spans = [(start, min(start + 16, (start // 64 + 1) * 64, N)) for start in range(0, N, 16)]
        assert table["first_sample_id"] == [start for start, _ in spans]
        assert table["batch_size"] == [stop - start for start, stop in spans]
        assert sum(table["batch_size"]) == N
        assert table["warm"] == [False] + [True] * (len(spans) - 1)
        assert all(0 < ms < 60_000 for ms in table["forward_ms"])


def test_figures_follow_from_the_timings(tmp_path):
    for row in run(tmp_path):
        manifest = manifest_of(tmp_path, "timings", "test", row.model)
        lap = read_table(Store(tmp_path), manifest).column("forward_ms").to_numpy()
        assert row.forward_seconds == pytest.approx(lap.sum() / 1e3)
        assert row.images_per_second == pytest.approx(N / row.forward_seconds)
        labels = few_digits().labels
        assert row.accuracy == np.mean(
            logits_of(tmp_path, "test", row.model)[1].argmax(axis=1) == labels
        )


def test_provenance(whole):
    manifest = manifest_of(whole, "logits", "test", "digits_wide")
    identity, about = manifest.identity, manifest.provenance
    assert len(identity["dataset_fingerprint"]) == 64
    assert identity["classes"] == 10
    assert identity["preprocessing"]["mean"] == list(get("digits_wide").preprocessing.mean)
    assert about["weights_sha256"] == identity["weights_sha256"]
    assert about["trained_on"] == {"splits": ["train"], "source": "shipped"}
    assert about["precision"] == "fp32"
    assert about["device"].endswith(" 1 threads")
    assert (about["batch_size"], about["part_rows"]) == (16, 64)
    assert about["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert about["made"].endswith("+00:00")
    assert manifest.rows == N
    file = pq.read_schema(Store(whole).root + f"/{manifest.partition.path}/part-00000.parquet")
    assert json.loads(file.metadata[b"cascade"])["identity"] == identity


def test_samples_are_those_of_the_source(whole):
    manifest = manifest_of(whole, "samples", "test")
    table = read_table(Store(whole), manifest).to_pydict()
    source = few_digits()
    assert table["label"] == source.labels.tolist()
    assert table["key"] == list(source.keys)
    assert not any(key.startswith("/") for key in table["key"])


# --- interruptions -------------------------------------------------------------------------------


class BrokenError(Exception):
    pass


def failing_after(calls, function):
    """The function, but it raises after so many calls."""
    left = [calls]

    def wrapped(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise BrokenError
        return function(*args, **kwargs)

    return wrapped


def resumes(root, whole, monkeypatch):
    """A second run ends with the same rows, and runs the models on nothing that was there."""
    calls, forward = [], Runner.logits

    def counted(self, batch):
        calls.append(len(batch))
        return forward(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "logits", counted)
        rows = run(root)
    fresh = sum(N - row.resumed_rows for row in rows)
    assert 0 <= sum(calls) - fresh <= len(rows)  # one image probes the shape
    for row in rows:
        name = row.model
        for mine, reference in zip(
            logits_of(root, "test", name), logits_of(whole, "test", name), strict=True
        ):
            np.testing.assert_array_equal(mine, reference)
        timings = read_table(Store(root), manifest_of(root, "timings", "test", name)).to_pydict()
        assert timings["first_sample_id"] == list(range(0, N, 16))
    return {row.model: row.resumed_rows for row in rows}


@pytest.mark.parametrize("batch", [0, 1, 5, 8, 14, 25])
def test_an_exception_in_a_batch_loses_its_part_at_most(batch, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Runner, "logits", failing_after(2 + batch, Runner.logits))
        with pytest.raises(BrokenError):
            run(tmp_path)
    resumed = resumes(tmp_path, whole, monkeypatch)
    images = batch // 2 * 16  # both models take turns
    assert min(resumed.values()) >= images // 64 * 64 - 64  # one part may still be in the writer
    assert max(resumed.values()) <= images


@pytest.mark.parametrize(("operation", "at", "step"), [("write", 0, 4), ("delete", 0, 9)])
def test_an_exception_at_a_file_operation_resumes_to_the_same_rows(
    operation, at, step, whole, tmp_path, monkeypatch
):
    """Which operations there are is in test_cache_writer.py, which fails at every one."""
    usual, resumed = getattr(Store, operation), set()
    while True:
        root = tmp_path / str(at)
        with monkeypatch.context() as patch:
            patch.setattr(Store, operation, failing_after(at, usual))
            try:
                run(root)
                break
            except BrokenError:
                pass
        resumed |= set(resumes(root, whole, monkeypatch).values())
        at += step
    assert {0, 64, 128, 192, N} >= resumed >= ({0, N} if operation == "write" else {N})


def test_a_full_disk_is_one_line_and_resumes(whole, tmp_path, monkeypatch):
    import cache.storage.store

    calls = failing_after(12, lambda: None)

    def full(descriptor):
        try:
            calls()
        except BrokenError:
            raise OSError(28, "No space left on device") from None

    with monkeypatch.context() as patch:
        patch.setattr(cache.storage.store.os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device; free some space"):
            run(tmp_path)
    resumes(tmp_path, whole, monkeypatch)


def test_a_second_run_resumes_everything(tmp_path):
    run(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    source = counting(few_digits())
    for row in run(tmp_path, source, batch_size=999):
        assert (row.rows, row.resumed_rows) == (N, N)
        assert (row.forward_seconds, row.images_per_second) == (0, None)
    assert not source.reads
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}


def test_a_model_that_joins_later_runs_alone(whole, tmp_path, monkeypatch):
    run(tmp_path, models=PAIR[:1])
    assert resumes(tmp_path, whole, monkeypatch) == {PAIR[0]: N, PAIR[1]: 0}


@pytest.mark.parametrize("table", ["logits", "timings"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_part_is_made_again_alone(table, damage, whole, tmp_path):
    run(tmp_path)
    manifest = manifest_of(tmp_path, table, "test", PAIR[0])
    part = tmp_path / manifest.partition.path / manifest.parts[1].name
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.unlink()
    if damage != "remove":
        part.write_bytes(data if damage == "flip" else data[:-7])
    source = counting(few_digits())
    rows = run(tmp_path, source)
    assert [row.resumed_rows for row in rows] == [N - 64, N]
    assert source.reads == Counter([0, *range(64, 128)])
    for name in PAIR:
        np.testing.assert_array_equal(
            logits_of(tmp_path, "test", name)[1], logits_of(whole, "test", name)[1]
        )
        timings = read_table(Store(tmp_path), manifest_of(tmp_path, "timings", "test", name))
        assert timings.column("first_sample_id").to_pylist() == list(range(0, N, 16))


# --- other inputs --------------------------------------------------------------------------------


def test_new_weights_are_refused_or_replace(tmp_path):
    run(tmp_path, models=PAIR[:1])
    file = seeded_weights(tmp_path / "new.pt", PAIR[0])
    other = choose("digits", PAIR[:1], files={PAIR[0]: file})
    with pytest.raises(InputError, match=r"weights_sha256 was .*, now .*--overwrite") as caught:
        run(tmp_path, models=other)
    assert "\n" not in str(caught.value)
    old = logits_of(tmp_path, "test", PAIR[0])[1]
    [row] = run(tmp_path, models=other, overwrite=True)
    assert row.resumed_rows == 0
    assert np.abs(logits_of(tmp_path, "test", PAIR[0])[1] - old).max() > 0.1


def test_other_preprocessing_is_refused_or_replaces(tmp_path):
    run(tmp_path, models=PAIR[:1])
    [one] = choose("digits", PAIR[:1])
    wider = replace(one.spec.preprocessing, std=(0.5,))
    other = [replace(one, spec=replace(one.spec, preprocessing=wider))]
    with pytest.raises(InputError, match=r"preprocessing.std was .0.3765., now .0.5.*--overwrite"):
        run(tmp_path, models=other)
    [row] = run(tmp_path, models=other, overwrite=True)
    assert row.resumed_rows == 0


def test_other_images_are_refused_or_replace(tmp_path):
    run(tmp_path, models=PAIR[:1])
    with pytest.raises(InputError, match=r"samples of .*dataset_fingerprint was .*--overwrite"):
        run(tmp_path, few_digits(N - 1), models=PAIR[:1])
    [row] = run(tmp_path, few_digits(N - 1), models=PAIR[:1], overwrite=True)
    assert (row.rows, row.resumed_rows) == (N - 1, 0)


def test_models_with_other_preprocessing_share_the_decoding(tmp_path):
    [one, two] = choose("digits", PAIR)
    darker = replace(two.spec.preprocessing, mean=(0.0,))
    source = counting(few_digits())
    run(tmp_path, source, models=[one, replace(two, spec=replace(two.spec, preprocessing=darker))])
    assert source.reads == Counter(range(N))
    module = build(PAIR[1])
    module.load_state_dict(torch.load(SHIPPED / two.spec.shipped, weights_only=True))
    normalise = transforms.Normalize((0.0,), two.spec.preprocessing.std)
    transform = transforms.Compose([transforms.ToTensor(), normalise])
    pictures = [Image.fromarray(p) for p in few_digits().pictures]
    expected = plain_loop(module, transform, pictures, 16)
    np.testing.assert_allclose(logits_of(tmp_path, "test", PAIR[1])[1], expected, atol=2e-5)


def test_what_weights_were_trained_on_can_be_stated_later(tmp_path):
    file = seeded_weights(tmp_path / "mine.pt", PAIR[0])
    alias = f"mine={PAIR[0]}:{file}"
    for source, splits in (("assumed", ["train"]), ("stated", ["val"])):
        result = cascade("extract", "--model", alias, "--split", "test", "--cache", tmp_path)
        assert result.status == 0
        assert cascade("score", "--cache", tmp_path).status == 0
        for table in ("logits", "scores"):
            about = manifest_of(tmp_path, table, "test", "mine").provenance
            assert about["trained_on"] == {"splits": splits, "source": source}
        file.with_suffix(".json").write_text('{"trained_on": ["val"]}')


def extract_cifar(data, weights, root, *more):
    args = ("extract", "-d", "cifar10", "-f", data, "--models", "resnet20")
    return cascade(*args, "--weights", weights, "--cache", root, *more)


def test_weights_that_give_nan(tmp_path):
    pictures, labels = noise_images(40)
    pictures[:23] = 0  # sample 23 is the first whose logits overflow
    data = write_parquet(tmp_path / "data", "test", pictures, labels)
    huge = {"conv1__weight": lambda t: t * 0 + 3e38}
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt", **huge).parent
    line = extract_cifar(data, weights, tmp_path / "cache").refusal
    assert "resnet20 gives a NaN or infinite logit on cifar10/test sample" in line
    assert not find(Store(tmp_path / "cache"), "logits")


def test_labels_beyond_the_weights_classes(tmp_path):
    data = write_parquet(tmp_path / "data", "test", *noise_images(20))
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt", classes=5).parent
    line = extract_cifar(data, weights, tmp_path / "cache").refusal
    assert "has label 9 but the weights of resnet20 know 5 classes" in line


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_images_of_several_sizes(batch, tmp_path):
    pictures, labels = noise_images(12)
    odd = noise_images(1, size=40)[0]
    data = write_parquet(tmp_path / "d", "test", [*pictures[:7], odd[0], *pictures[8:]], labels)
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt").parent
    result = extract_cifar(data, weights, tmp_path / "cache", "--batch-size", batch)
    assert "cifar10/test sample 7 (test.parquet#7) is 40×40 but sample 0 is 32×32" in result.refusal


def test_images_of_several_sizes_are_resized_for_a_dataset_of_ones_own(tmp_path):
    pictures, labels = noise_images(12)
    odd = noise_images(1, size=40)[0]
    data = write_parquet(tmp_path / "d", "test", [*pictures[:7], odd[0], *pictures[8:]], labels)
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt").parent
    args = ("extract", "-d", "mine", "-f", data, "--weights", weights, "--cache", tmp_path)
    [row] = cascade(*args, "--json").json["models"]
    assert row["rows"] == 12


def test_images_too_small_for_the_model(tmp_path):
    data = write_parquet(tmp_path / "d", "test", *noise_images(12, size=8))
    weights = seeded_weights(tmp_path / "w" / "vgg11_bn.pt", "vgg11_bn").parent
    args = ("extract", "-d", "cifar10", "-f", data, "--models", "vgg11_bn", "--weights", weights)
    line = cascade(*args, "--cache", tmp_path).refusal
    assert "cannot take images of shape (3, 8, 8)" in line


@pytest.mark.parametrize("device", ["meta", "cuda:99", "nonsense", "cpu:x", "xpu"])
def test_devices_that_cannot_run(device, tmp_path):
    assert (
        "cannot use device" in cascade("extract", "--device", device, "--cache", tmp_path).refusal
    )


def test_runtimes_live_side_by_side(tmp_path):
    for precision in ("fp32", "bf16"):
        args = ("extract", "--split", "test", "--models", "digits_wide", "--precision", precision)
        assert cascade(*args, "--cache", tmp_path).status == 0
    full = logits_of(tmp_path, "test", "digits_wide")[1]
    half = logits_of(tmp_path, "test", "digits_wide", runtime="torch-bf16-cpu")[1]
    assert 0 < np.abs(full - half).max() < 0.5
    line = cascade("score", "--split", "test", "--cache", tmp_path).refusal
    assert "several runtimes (torch-bf16-cpu, torch-fp32-cpu)" in line
    assert line.endswith("give --runtime torch-fp32-cpu or --runtime torch-bf16-cpu")
    args = ("score", "--split", "test", "--runtime", RUNTIME, "--cache", tmp_path, "--json")
    assert [row["runtime"] for row in cascade(*args).json["models"]] == [RUNTIME]


def test_class_names_are_recorded(tmp_path):
    data = write_folders(tmp_path / "f", "test", *noise_images(20))
    weights = seeded_weights(tmp_path / "w" / "resnet20.pt").parent
    assert extract_cifar(data, weights, tmp_path / "cache").status == 0
    [samples] = find(Store(tmp_path / "cache"), "samples")
    assert samples.provenance["class_names"] == CLASSES
    assert samples.provenance["layout"] == "image-folder"
