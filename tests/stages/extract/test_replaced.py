"""Pictures that are replaced under their names: same key, same label, other bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import (
    ROOT,
    cascade,
    logits_of,
    manifest_of,
    noise_images,
    png,
    seeded_weights,
    write_archive,
    write_folders,
    write_parquet,
)

from cache import PartitionWriter, Store, find, publish, read_table
from cache.schema import SAMPLES
from cache.upkeep import verify

torch = pytest.importorskip("torch")

from stages.datasets import open_split  # noqa: E402
from stages.runtimes import Runner  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

N = 40
MODELS = ("resnet20", "shufflenetv2_x0_5")
PARTS = ("--batch-size", 4, "--part-rows", 8)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """images, weights `w`, and a cache `c` of the first model."""
    root = tmp_path_factory.mktemp("desk")
    for seed, name in enumerate(MODELS):
        seeded_weights(root / "w" / f"{name}.pt", name, seed)
    write_folders(root / "images", "test", *noise_images(N))
    assert extract(root).status == 0
    return root


@pytest.fixture
def own(desk, tmp_path):
    """A copy of the desk."""
    return shutil.copytree(desk, tmp_path / "own")


def extract(root, *more, models=MODELS[:1], cache="c"):
    args = ("-d", "cifar10", "-f", root / "images", "--weights", root / "w", *PARTS)
    args += ("--models", ",".join(models), "--cache", root / cache)
    return cascade("extract", *args, *more)


def files(root):
    return sorted((root / "images" / "test").rglob("*.png"))


def replace(root, *samples):
    """Other pictures, each turned, in the files of these samples."""
    pictures = noise_images(N)[0]
    for sample in samples:
        files(root)[sample].write_bytes(png(pictures[sample][::-1]))


def digests(root):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files(root)]


def over(each):
    return hashlib.sha256(json.dumps(each, separators=(",", ":")).encode()).hexdigest()


def recorded(root, cache="c"):
    samples = manifest_of(root / cache, "samples", "test", dataset="cifar10")
    return read_table(Store(root / cache), samples).sort_by("sample_id")["sha256"].to_pylist()


def made_from(root, model, cache="c"):
    manifest = manifest_of(root / cache, "logits", "test", model, "cifar10")
    return manifest.provenance.get("pictures_sha256")


def rows(root, model, cache="c"):
    return logits_of(root / cache, "test", model, "cifar10")[1]


def fresh(root, model):
    """The rows of a new cache of the pictures as they are."""
    assert extract(root, models=(model,), cache=f"new-{model}").status == 0
    return rows(root, model, f"new-{model}")


def unharmed(root):
    found = verify(Store(root / "c"))
    assert (found.damage, list(found.survey.strays), found.survey.unfinished) == ([], [], ())


# --- digests -------------------------------------------------------------------------------------


def test_samples_and_logits_carry_the_digests_of_the_files(desk):
    assert recorded(desk) == digests(desk)
    assert made_from(desk, "resnet20") == over(digests(desk))
    samples = manifest_of(desk / "c", "samples", "test", dataset="cifar10")
    assert samples.provenance["pictures_sha256"] == over(digests(desk))


def test_each_layout_offers_the_bytes_that_it_stores(tmp_path):
    pictures, labels = noise_images(20)
    encoded = [png(picture) for picture in pictures]
    write_folders(tmp_path / "folders", "test", pictures, labels)
    write_parquet(tmp_path / "parquet", "test", pictures, labels)
    write_archive(tmp_path / "archive", pictures, labels)
    (tmp_path / "tar").mkdir()
    with tarfile.open(tmp_path / "tar" / "test.tar", "w") as tar:
        for i, (data, label) in enumerate(zip(encoded, labels, strict=True)):
            for name, content in ((f"{i:03d}.png", data), (f"{i:03d}.cls", b"%d" % label)):
                path = tmp_path / "member"
                path.write_bytes(content)
                tar.add(path, name)
    for layout in ("folders", "parquet", "tar"):
        source = open_split("cifar10", "test", tmp_path / layout)
        assert [bytes(source.stored(i)) for i in range(20)] == encoded, layout
        rest = source.without({3: "dark"})
        assert rest.stored(3) == encoded[4]
    source = open_split("cifar10", "test", tmp_path / "archive")
    assert [bytes(source.stored(i)) for i in range(20)] == [p.tobytes() for p in pictures]


# --- a run after pictures were replaced ----------------------------------------------------------


def test_a_rerun_tells_how_many_the_first_and_what_to_run(own):
    before = rows(own, "resnet20")
    replace(own, 17, 5, 30)
    for _ in range(2):
        done = extract(own, "--json")
        assert [row["resumed_rows"] for row in done.json["models"]] == [N]
        key = files(own)[5].relative_to(own / "images").as_posix()
        assert done.err.splitlines() == [
            f"3 of 40 pictures of cifar10/test have been replaced under their names, "
            f"first {key}: logits of resnet20 in the cache are of the old ones; extract with "
            "--overwrite to make them again"
        ]
        np.testing.assert_array_equal(rows(own, "resnet20"), before)
    done = extract(own, "--overwrite", "--json")
    assert [row["resumed_rows"] for row in done.json["models"]] == [0]
    assert done.err == ""
    np.testing.assert_array_equal(rows(own, "resnet20"), fresh(own, "resnet20"))
    assert not np.array_equal(rows(own, "resnet20"), before)
    assert recorded(own) == digests(own)
    assert made_from(own, "resnet20") == over(digests(own))
    assert extract(own).err == ""
    unharmed(own)


def test_unchanged_pictures_are_not_told_and_overwrite_makes_nothing_again(own):
    assert extract(own).err == ""
    [row] = extract(own, "--overwrite", "--json").json["models"]
    assert row["resumed_rows"] == N
    os.utime(files(own)[3])  # another time is no other picture
    assert extract(own).err == ""


def test_the_other_models_are_told_after_one_was_overwritten(own):
    assert extract(own, models=MODELS[1:]).err == ""
    replace(own, 8)
    done = extract(own, "--overwrite")
    told = (
        "logits of shufflenetv2_x0_5 on cifar10/test are of pictures that have been "
        "replaced since: extract these models again with --overwrite"
    )
    assert done.err.splitlines() == [told]
    assert extract(own).err.splitlines() == [told]
    assert extract(own, models=MODELS[1:]).err.splitlines() == [told]
    assert extract(own, "--overwrite", models=MODELS[1:]).err == ""
    for model in MODELS:
        assert made_from(own, model) == over(digests(own))
        np.testing.assert_array_equal(rows(own, model), fresh(own, model))
    unharmed(own)


def test_a_model_that_joins_later_says_which_pictures_it_has_seen(own):
    old = over(digests(own))
    replace(own, 8)
    done = extract(own, models=MODELS)
    assert "first test/" in done.err
    assert "logits of resnet20 in the cache are of the old ones" in done.err
    assert (made_from(own, "resnet20"), made_from(own, MODELS[1])) == (old, over(digests(own)))
    assert recorded(own) != digests(own)
    done = extract(own, "--overwrite", "--json", models=MODELS)
    assert [row["resumed_rows"] for row in done.json["models"]] == [0, N]
    assert done.err == ""


@pytest.mark.parametrize("table", ["logits", "timings"])
def test_a_damaged_part_is_not_made_again_from_other_pictures_than_its_neighbours(table, own):
    extract(own, models=MODELS[1:])
    replace(own, 8)
    extract(own, "--overwrite", models=MODELS[1:])  # now the samples are the new ones
    next((own / "c").glob(f"{table}/**/model=resnet20/part-00003.parquet")).unlink()
    [row] = extract(own, "--json").json["models"]
    assert row["resumed_rows"] == 0
    np.testing.assert_array_equal(rows(own, "resnet20"), fresh(own, "resnet20"))
    assert made_from(own, "resnet20") == over(digests(own))
    unharmed(own)


# --- runs that were interrupted ------------------------------------------------------------------


def interrupted(root, *more, after=7, models=MODELS[:1]):
    calls, forward = iter(range(after)), Runner.logits

    def logits(self, batch):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return forward(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "logits", logits)
        assert extract(root, *more, models=models).status == 130
    return len(list((root / "c" / ".tmp" / "receipts" / "logits").rglob("*.json")))


def test_what_is_left_of_an_interrupted_run_is_of_one_set_of_pictures(own):
    """Of three whole parts of eight, the one with the replaced picture is made again."""
    shutil.rmtree(own / "c")
    parts = interrupted(own)
    assert parts >= 2
    replace(own, 10)  # in the second part
    done = extract(own, "--json")
    assert [row["resumed_rows"] for row in done.json["models"]] == [8 * (parts - 1)]
    assert "1 unfinished parts of cifar10/test are of pictures that have been replaced" in done.err
    np.testing.assert_array_equal(rows(own, "resnet20"), fresh(own, "resnet20"))
    assert recorded(own) == digests(own)
    assert made_from(own, "resnet20") == over(digests(own))
    unharmed(own)


def test_an_interrupted_run_beside_whole_logits_is_begun_again(own):
    interrupted(own, models=MODELS[1:])
    replace(own, 10)
    done = extract(own, "--json", models=MODELS[1:])
    assert [row["resumed_rows"] for row in done.json["models"]] == [0]
    assert "have been replaced under their names, first test/" in done.err
    assert "were made otherwise (pictures_sha256 was " in done.err
    np.testing.assert_array_equal(rows(own, MODELS[1]), fresh(own, MODELS[1]))
    assert made_from(own, MODELS[1]) == over(digests(own))


def test_an_interrupted_overwriting_run_goes_on(own):
    replace(own, 10)
    parts = interrupted(own, "--overwrite")
    assert not find(Store(own / "c"), "logits")
    [row] = extract(own, "--json").json["models"]
    assert row["resumed_rows"] == 8 * parts
    np.testing.assert_array_equal(rows(own, "resnet20"), fresh(own, "resnet20"))


# --- shards, older caches, what is left out ------------------------------------------------------


def test_a_shard_reads_the_pictures_of_its_own_parts(own, monkeypatch):
    from stages.datasets.image_folder import FolderSource

    shutil.rmtree(own / "c")
    read, stored = [], FolderSource.stored

    def noted(self, i):
        read.append(i)
        return stored(self, i)

    monkeypatch.setattr(FolderSource, "stored", noted)
    counts = []
    for shard in range(2):
        read.clear()
        assert extract(own, "--shard", f"{shard}/2").status == 0
        counts.append(sorted(set(read)))
    mine = [i for i in range(N) if i // 8 % 2]
    assert counts[0] == list(range(N))  # whoever comes first records them all
    assert set(counts[1]) == {0, *mine}  # and the first, which the model is tried on
    assert recorded(own) == digests(own)
    assert made_from(own, "resnet20") == over(digests(own))


def test_a_shard_does_not_mix_its_pictures_with_those_of_others(own):
    shutil.rmtree(own / "c")
    assert extract(own, "--shard", "0/2").status == 0  # parts 0, 2, 4
    replace(own, 8, 17)  # in parts 1 and 2
    done = extract(own, "--shard", "1/2", "--json")
    assert "1 unfinished parts of cifar10/test are of pictures that have been replaced" in done.err
    assert not done.json["models"][0]["complete"]
    done = extract(own, "--shard", "0/2", "--json")
    assert done.json["models"][0]["complete"]
    np.testing.assert_array_equal(rows(own, "resnet20"), fresh(own, "resnet20"))
    unharmed(own)


def aged(root):
    """The cache as it was before digests: of schema version 1."""
    store = Store(root / "c")
    samples = manifest_of(root / "c", "samples", "test", dataset="cifar10")
    table = read_table(store, samples)
    table = table.set_column(3, SAMPLES.field(3), pa.nulls(len(table), pa.string()))
    about = {k: v for k, v in samples.provenance.items() if k != "pictures_sha256"}
    writer = PartitionWriter(store, samples.partition, table.schema, samples.identity, about)
    writer.reopen()
    writer.write(0, table)
    writer.finish(1)
    for each in find(store, "logits"):
        about = {k: v for k, v in each.provenance.items() if k != "pictures_sha256"}
        publish(store, dataclasses.replace(each, provenance=about))


def test_an_older_cache_keeps_its_rows_and_gets_digests(own):
    aged(own)
    assert recorded(own) == [None] * N
    before = rows(own, "resnet20")
    done = extract(own, "--json")
    assert [row["resumed_rows"] for row in done.json["models"]] == [N]
    assert done.err == ""
    assert recorded(own) == digests(own)  # what is replaced from now on is told
    assert made_from(own, "resnet20") is None  # nobody knows
    np.testing.assert_array_equal(rows(own, "resnet20"), before)
    replace(own, 3)
    assert "1 of 40 pictures of cifar10/test have been replaced" in extract(own).err
    [row] = extract(own, "--overwrite", "--json").json["models"]
    assert row["resumed_rows"] == 0
    assert made_from(own, "resnet20") == over(digests(own))
    unharmed(own)


def test_only_the_pictures_that_are_not_left_out_count(own):
    files(own)[20].write_bytes(b"no picture")
    shutil.rmtree(own / "c")
    assert extract(own, "--unreadable", "skip").status == 0
    rest = [each for i, each in enumerate(digests(own)) if i != 20]
    assert recorded(own) == rest
    files(own)[20].write_bytes(b"none either")
    assert "replaced" not in extract(own).err
    replace(own, 21)
    line = extract(own).err.splitlines()[-1]
    assert "1 of 39 pictures of cifar10/test have been replaced" in line
    assert files(own)[21].name in line


def test_a_published_copy_does_not_tell_the_digests(own):
    assert cascade("score", "-d", "cifar10", "--cache", own / "c").status == 0
    done = cascade("export", "--publish", own / "p", "-d", "cifar10", "--cache", own / "c")
    assert done.status == 0, done.err
    told = b"".join(path.read_bytes() for path in (own / "p").rglob("*") if path.is_file())
    assert all(each.encode() not in told for each in [*digests(own), over(digests(own))])
    for path in (own / "p").rglob("part-*.parquet"):
        if "samples" in path.parts:
            assert set(pq.read_table(path, partitioning=None)["sha256"].to_pylist()) == {None}


# --- what is no file -----------------------------------------------------------------------------


def fifo(path):
    os.mkfifo(path)


def sock(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


def device(path):
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 7))  # a scratch node, only looked at
    except OSError:
        pytest.skip("not permitted to make a device node")


ODD = {
    "FIFO": (fifo, "it is a FIFO, not a regular file"),
    "socket": (sock, "No such device or address"),
    "device": (device, "it is a device, not a regular file"),
    "gone": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "empty": (lambda path: path.write_bytes(b""), "not an image in one of JPEG, PNG"),
    "huge": (
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
        "1024 MiB",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_picture_is_one_line_and_may_be_skipped(kind, own, monkeypatch):
    make, reason = ODD[kind]
    monkeypatch.chdir(own)
    path = files(own)[5]
    path.unlink()
    make(path)
    line = extract(own, cache="d").refusal
    assert f"{path.name} (sample 5): " in line
    assert reason in line
    assert line.endswith("; replace or remove this image")
    done = extract(own, "--unreadable", "skip", "--json", cache="d")
    assert [row["rows"] for row in done.json["models"]] == [N - 1]
    assert (
        f"left out: image 5 of cifar10/test: {reason}".replace(": 1024", ": it is larger than 1024")
        in done.err
    )


def test_a_folder_called_as_a_picture_holds_pictures(own):
    path = files(own)[5]
    path.unlink()
    path.mkdir()
    (path / "0.png").write_bytes(png(noise_images(N)[0][5]))
    [row] = extract(own, "--json", cache="d").json["models"]
    assert row["rows"] == N


def bomb(side):
    """A PNG whose header claims so many pixels."""
    data = bytearray(png(np.zeros((1, 1, 3), np.uint8)))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_a_bomb_is_one_line(own):
    files(own)[5].write_bytes(bomb(30_000))
    line = extract(own, cache="d").refusal
    assert "(900000000 pixels) exceeds limit" in line
    assert line.endswith("; replace or remove this image")


def test_a_picture_that_pillow_only_warns_of_is_refused_without_its_warning(tmp_path):
    """In a process of its own, whose warnings go where the system sends them."""
    (tmp_path / "big.png").write_bytes(bomb(10_000))
    code = (
        "from stages.datasets.decode import decode, UnreadableImageError\n"
        "try: decode(open('big.png', 'rb').read(), 'big.png')\n"
        "except UnreadableImageError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert "big.png: 10000 × 10000 pixels exceeds limit of 89478485 pixels" in done.stdout


def test_one_pixel_is_a_picture(own):
    for path in files(own):
        path.write_bytes(png(np.full((1, 1, 3), 9, np.uint8)))
    alias = f"small=resnet20:{own / 'w' / 'resnet20.pt'}"
    given = ("-d", "tints", "-f", own / "images", "--cache", own / "d", "--model", alias)
    assert cascade("extract", *given).status == 0
