"""`cascade hash`: what it writes, resumes and measures, and what --robustness reports."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, strategies as st
from running import IMAGES, cascade, needs_shared, write_folders

import cache
from cache import InputError, Partition, Store
from stages import hashes as stage
from stages.costs import hash_cost
from stages.datasets import ArraySource, Source, fingerprint, open_split
from stages.hashes import ALL, HASHES, hash_of, robustness
from stages.runtimes import VARIANTS

NAMES = ("dhash", "canonical-dhash", "invariants", "invariants-4")


def source_of(n=50, size=(9, 8), seed=0, keys="a"):
    rng = np.random.default_rng(seed)
    return ArraySource(
        dataset="toy",
        split="test",
        layout="made up",
        keys=[f"{keys}/{i}.png" for i in range(n)],
        labels=np.zeros(n, np.int32),
        pictures=rng.integers(0, 256, (n, *size, 3), np.uint8),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Counting(Source):
    """Another source, whose reads are counted and fail from picture `broken` on."""

    behind: Source
    broken: int | None = None
    read_ids: list = field(default_factory=list)

    @classmethod
    def of(cls, behind, broken=None):
        known = {"dataset": behind.dataset, "split": behind.split, "layout": behind.layout}
        return cls(**known, keys=behind.keys, labels=behind.labels, behind=behind, broken=broken)

    def read(self, i):
        if self.broken is not None and i >= self.broken:
            raise KeyboardInterrupt
        self.read_ids.append(i)
        return self.behind.read(i)


def partition(algorithm, variant="identity", split="test", dataset="toy"):
    keys = {"dataset": dataset, "split": split, "variant": variant}
    return Partition.of("hashes", algorithm=algorithm, **keys)


def keys_of(store, *where, **keys):
    manifest = cache.load(store, partition(*where, **keys))
    return stage.hash_keys(store, manifest)


# --- what is written -----------------------------------------------------------------------------


def by_pillow(variant, picture):
    """The variant as Pillow turns it."""
    image = pytest.importorskip("PIL.Image")
    named = {f"rot{angle}": f"ROTATE_{angle}" for angle in (90, 180, 270)}
    named["flip"] = "FLIP_TOP_BOTTOM"
    whole = image.fromarray(picture)
    if variant != "identity":
        whole = whole.transpose(image.Transpose[named[variant]])
    return np.asarray(whole)


def test_each_variant_has_the_keys_of_the_turned_pictures(store):
    source = source_of()
    rows = stage.run(store, source, NAMES, list(VARIANTS), part_rows=20)
    assert len(rows) == len(NAMES) * len(VARIANTS)
    for variant in VARIANTS:
        for name in NAMES:
            turned = [by_pillow(variant, source.read(i)) for i in range(len(source))]
            wanted = np.concatenate([hash_of(name).digest(each[None]) for each in turned])
            assert (keys_of(store, name, variant) == wanted).all()


def test_the_rows_say_what_was_made(store):
    [row] = stage.run(store, source_of(30), ["invariants"])
    assert vars(row) == {
        "split": "test",
        "variant": "identity",
        "algorithm": "invariants",
        "rows": 30,
        "resumed_rows": 0,
        "key_bytes": 32,
        "distinct": 30,
    }


def test_distinct_keys_are_counted(store):
    pictures = np.repeat(source_of(5).pictures, 3, axis=0)
    source = source_of(15)
    object.__setattr__(source, "pictures", pictures)
    [row] = stage.run(store, source, ["invariants"])
    assert row.distinct == 5


def test_the_manifest_says_how_the_keys_were_made(store):
    source = source_of()
    stage.run(store, source, ["invariants-4", "phash"])
    manifest = cache.load(store, partition("invariants-4"))
    assert manifest.fingerprint == fingerprint(source)
    assert manifest.identity["hash"] == "invariants-4"
    assert manifest.identity["parameters"]["key"] == "4 significant digits"
    assert manifest.provenance["hamming_bits"] is None
    library = cache.load(store, partition("phash")).provenance
    assert library["hamming_bits"] == 64
    assert library["packages"].keys() == {"imagehash", "PIL"}


def test_other_programs_read_the_hashes(store, tmp_path):
    stage.run(store, source_of(), ["dhash"], ["identity", "flip"], part_rows=20)
    files = f"{store.root}/hashes/**/*.parquet"
    wanted = keys_of(store, "dhash", "flip")
    shown = pl.read_parquet(files, hive_partitioning=True).filter(pl.col("variant") == "flip")
    rows = shown.sort("sample_id")
    assert rows["hash"].to_list() == [key.tobytes() for key in wanted]
    asked = f"select hash from read_parquet('{files}') where variant = 'flip' order by sample_id"
    assert [key for (key,) in duckdb.sql(asked).fetchall()] == rows["hash"].to_list()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("part_rows", [1, 7, 8192])
def test_parts_and_threads_do_not_change_a_key(store, workers, part_rows):
    source = source_of()
    stage.run(store, source, ["dhash"], workers=workers, part_rows=part_rows)
    assert (keys_of(store, "dhash") == hash_of("dhash").digest(source.pictures)).all()


def test_pictures_of_several_sizes(store, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((9, 9), (40, 50)) * 4]
    data = write_folders(tmp_path / "data", "test", pictures, np.zeros(8, int))
    source = open_split("photos", "test", data)
    stage.run(store, source, NAMES)
    for name in NAMES:
        wanted = [hash_of(name).digest(source.read(i)[None])[0] for i in range(8)]
        assert (keys_of(store, name, dataset="photos") == np.stack(wanted)).all()


# --- resuming, and refusing ----------------------------------------------------------------------


def test_an_interrupted_run_goes_on_and_yields_the_same_rows(store, tmp_path):
    source = source_of()
    with pytest.raises(KeyboardInterrupt):
        stage.run(store, Counting.of(source, broken=25), NAMES, ["flip"], 1, part_rows=10)
    again = Counting.of(source)
    rows = stage.run(store, again, NAMES, ["flip"], 1, part_rows=10)
    assert {row.resumed_rows for row in rows} == {20}
    assert not set(again.read_ids) & set(range(1, 20))
    whole = Store(tmp_path / "whole")
    stage.run(whole, source, NAMES, ["flip"], part_rows=10)
    for name in NAMES:
        assert (keys_of(store, name, "flip") == keys_of(whole, name, "flip")).all()


def test_what_is_there_is_not_made_again(store):
    source = Counting.of(source_of())
    stage.run(store, source, ["dhash"])
    source.read_ids.clear()
    [row] = stage.run(store, source, ["dhash"])
    assert (row.resumed_rows, source.read_ids) == (50, [])
    rows = stage.run(store, source, ["dhash", "invariants"])
    assert [row.resumed_rows for row in rows] == [50, 0]


def test_a_damaged_part_is_made_again(store):
    source = source_of()
    stage.run(store, source, ["dhash"], part_rows=20)
    manifest = cache.load(store, partition("dhash"))
    store.write(f"{manifest.partition.path}/{manifest.parts[1].name}", b"not Parquet")
    [row] = stage.run(store, source, ["dhash"], part_rows=20)
    assert row.resumed_rows == 30
    assert (keys_of(store, "dhash") == hash_of("dhash").digest(source.pictures)).all()


def test_other_images_are_refused_unless_asked_for(store):
    stage.run(store, source_of(), ["dhash"])
    other = source_of(seed=1, keys="b")
    with pytest.raises(InputError, match="--overwrite"):
        stage.run(store, other, ["dhash"])
    stage.run(store, other, ["dhash"], overwrite=True)
    assert (keys_of(store, "dhash") == hash_of("dhash").digest(other.pictures)).all()


def test_images_that_the_cache_knows_otherwise_are_refused(tmp_path):
    assert cascade("extract", "--cache", tmp_path, "--models", "digits_plain").status == 0
    digits = open_split("digits", "test")
    keys = [f"x{key}" for key in digits.keys]
    other = ArraySource(
        dataset="digits",
        split="test",
        layout="made up",
        keys=keys,
        labels=digits.labels.copy(),
        pictures=digits.pictures,
    )
    with pytest.raises(InputError, match="holds other images of digits/test"):
        stage.run(Store(tmp_path), other, ["dhash"])


@pytest.mark.parametrize(
    ("source", "names", "variants", "words"),
    [
        (source_of(0), ["dhash"], ["identity"], "holds no images"),
        (source_of(3), ["sha"], ["identity"], "unknown hash"),
        (source_of(3), ["dhash"], ["rot45"], "unknown variant"),
    ],
)
def test_bad_requests(store, source, names, variants, words):
    with pytest.raises(InputError, match=words):
        stage.run(store, source, names, variants)
    assert not cache.find(store, "hashes")


# --- robustness ----------------------------------------------------------------------------------


def naive_look_up(stored, asked, radius):
    """A loop over the table: the nearest key within the radius, the first of equally near ones."""
    found = []
    for key in asked:
        distances = [
            sum((int(a) ^ int(b)).bit_count() for a, b in zip(key, other, strict=True))
            if radius
            else (0 if (key == other).all() else 1)
            for other in stored
        ]
        nearest = min(distances)
        found.append(distances.index(nearest) if nearest <= radius else -1)
    return found


@given(st.data())
def test_looking_up_is_a_loop_over_the_table(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = data.draw(st.sampled_from([2, 4, 256]))  # few, so that keys collide
    stored, asked = (rng.integers(0, values, (n, 2), np.uint8) for n in (30, 20))
    radius = data.draw(st.integers(0, 16))
    found = robustness.look_up(stored, asked, radius).tolist()
    assert found == naive_look_up(stored, asked, radius)


def test_the_changes_are_what_they_are_called():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (6, 5, 3), np.uint8)
    changed = {
        name: each.change(picture, np.random.default_rng(1))
        for name, each in robustness.PERTURBATIONS.items()
    }
    for variant in VARIANTS:
        assert (changed[variant] == by_pillow(variant, picture)).all()
    assert len({changed[name].tobytes() for name in list(changed)[:8]}) == 8
    assert (changed["transpose"] == picture.transpose(1, 0, 2)).all()
    assert (changed["1 px down"][1:] == picture[:-1]).all()
    assert (changed["1 px down"][0] == picture[0]).all()
    assert (changed["1 px left"][:, :-1] == picture[:, 1:]).all()
    assert (changed["× 1.2"] == np.minimum(np.rint(picture * 1.2), 255)).all()
    noisy = [np.abs(changed[f"σ = {sd}"].astype(int) - picture).mean() for sd in (1, 2, 5, 10)]
    assert noisy == sorted(noisy)
    assert 0.5 < noisy[0] < noisy[-1] < 15
    assert all(each.shape[2:] == (3,) and each.dtype == np.uint8 for each in changed.values())


def test_jpeg_is_pillows(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for shape in ((16, 16, 3), (16, 16)):
        picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        image.fromarray(picture).save(tmp_path / "x.jpg", quality=50)
        found = robustness.PERTURBATIONS["quality 50"].change(picture, np.random.default_rng(0))
        assert (found == np.asarray(image.open(tmp_path / "x.jpg"))).all()


def test_recall_and_false_hits_add_up():
    """Three pictures, two of them the same: the second of these finds the first."""
    source = source_of(3, (8, 8))
    pictures = source.pictures.copy()
    pictures[2] = pictures[0]
    object.__setattr__(source, "pictures", pictures)
    rows = robustness.recall_under_changes(source, ["dhash", "invariants"])
    first = {row.algorithm: row for row in rows if row.perturbation == "identity"}
    for row in first.values():
        assert (row.recall, row.false_hit_rate, row.n) == (2 / 3, 1 / 3, 3)
    turned = {row.algorithm: row for row in rows if row.perturbation == "rot90"}
    assert turned["invariants"].recall == 2 / 3
    assert turned["dhash"].recall == 0


def test_radii_are_for_hashes_with_a_distance():
    rows = robustness.recall_under_changes(source_of(20), ["dhash", "invariants"], 10, (0, 8))
    assert {(row.algorithm, row.radius) for row in rows} == {
        ("dhash", 0),
        ("dhash", 8),
        ("invariants", 0),
    }
    assert len(rows) == 3 * len(robustness.PERTURBATIONS)
    recall = {(r.algorithm, r.radius, r.perturbation): r.recall for r in rows}
    for name in robustness.PERTURBATIONS:
        assert recall["dhash", 8, name] >= recall["dhash", 0, name]


def test_the_same_seed_gives_the_same_noise():
    one, two = (
        robustness.recall_under_changes(source_of(40), ["dhash"], workers=n) for n in (1, 3)
    )
    assert one == two


@needs_shared
def test_on_real_images_only_the_symmetric_hashes_know_a_turned_one():
    source = open_split("cifar10", "test", IMAGES.parent)
    rows = robustness.recall_under_changes(
        source, ("dhash", "canonical-dhash", "invariants"), 300, (0, 4)
    )
    recall = {(r.algorithm, r.radius, r.perturbation): r.recall for r in rows}
    turns = [n for n, each in robustness.PERTURBATIONS.items() if each.kind == "symmetry"]
    for name in turns[1:]:
        assert recall["canonical-dhash", 0, name] == recall["invariants", 0, name] == 1
        assert recall["dhash", 0, name] < 0.01
    assert recall["invariants", 0, "σ = 1"] == 0  # an exact-copy detector
    assert recall["dhash", 0, "σ = 1"] > 0.4
    assert recall["dhash", 4, "σ = 1"] > 0.95
    assert max(row.false_hit_rate for row in rows) < 0.01


# --- the command ---------------------------------------------------------------------------------


def test_hash_writes_keys_and_costs(tmp_path):
    told = cascade(
        *("hash", "-d", "digits", "--split", "test", "--variants", "identity,flip"),
        *("--algorithms", "dhash,invariants", "--cache", tmp_path, "--json"),
    ).json
    assert [(r["algorithm"], r["variant"], r["rows"]) for r in told["hashes"]] == [
        ("dhash", "identity", 500),
        ("invariants", "identity", 500),
        ("dhash", "flip", 500),
        ("invariants", "flip", 500),
    ]
    assert [row["model"] for row in told["costs"]] == ["hash:dhash", "hash:invariants"]
    store = Store(tmp_path)
    for row in told["costs"]:
        assert (row["component"], row["batch_size"]) == ("hash", 1)
        name = row["model"].removeprefix("hash:")
        cost = hash_cost(store, "digits", name, "latency", row["device"])
        assert cost == row["latency_ms"]
        assert 0.001 < cost < 100
    again = cascade("hash", "--algorithms", "dhash", "--split", "test", "--cache", tmp_path)
    assert again.status == 0
    assert "µs" not in again.err


def test_hash_uses_all_hashes_and_all_but_train(tmp_path):
    told = cascade("hash", "--no-profile", "--cache", tmp_path, "--json").json
    assert {row["algorithm"] for row in told["hashes"]} == set(ALL)
    assert {row["split"] for row in told["hashes"]} == {"val", "test"}
    assert told["costs"] == []


def test_digits_of_the_invariants_are_a_hash_of_their_own(tmp_path):
    args = ("hash", "--algorithms", "invariants,dhash", "--split", "test", "--no-profile")
    told = cascade(*args, "--invariant-digits", "4", "--cache", tmp_path, "--json").json
    assert [row["algorithm"] for row in told["hashes"]] == ["invariants-4", "dhash"]
    exact = cascade(*args, "--cache", tmp_path, "--json").json
    assert [row["resumed_rows"] for row in exact["hashes"]] == [0, 500]
    assert len(cache.find(Store(tmp_path), "hashes")) == 3


def test_extract_hashes_too(tmp_path):
    args = ("extract", "--models", "digits_plain", "--split", "test", "--variants", "rot90")
    told = cascade(*args, "--hashes", "dhash", "--cache", tmp_path, "--json").json
    assert [(r["algorithm"], r["variant"]) for r in told["hashes"]] == [("dhash", "rot90")]
    shown = cascade(*args, "--variants", "identity,flip", "--cache", tmp_path).out.splitlines()
    assert shown[0].split()[:4] == ["model", "split", "variant", "rows"]
    assert [line.split()[2] for line in shown[1:3]] == ["identity", "flip"]
    assert "variant" not in cascade(*args, "--cache", tmp_path).out
    assert (keys_of(Store(tmp_path), "dhash", "rot90", dataset="digits")).shape == (500, 8)


def test_a_picture_of_robustness(tmp_path):
    args = ("hash", "--robustness", "-n", "60", "--algorithms", "dhash,invariants")
    table = tmp_path / "rows.csv"
    told = cascade(
        *args, "--figures", tmp_path / "f", "--radius", "0,2", "-o", table, "--json"
    ).json
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        *("hash_false_hits.png", "hash_false_hits.svg"),
        *("hash_recall.png", "hash_recall.svg"),
    ]
    assert len(told["figures"]) == 4
    assert told["split"] == "test"
    assert len(told["rows"]) == len(pl.read_csv(table)) == 3 * len(robustness.PERTURBATIONS)
    drawing = (tmp_path / "f" / "hash_recall.svg").read_text(encoding="utf-8")
    assert "dhash, radius 2" in drawing
    for name in ("rot270", "quality 75", "1 px left", "× 0.95"):
        assert name in drawing
    shown = cascade(*args)
    assert shown.status == 0
    assert "finds itself" in shown.out


REFUSED = {
    "an unknown hash": (("--algorithms", "dhas"), "did you mean 'dhash'?"),
    "no hash": (("--algorithms", ","), "names nothing"),
    "an unknown variant": (("--variants", "rot91"), "did you mean 'rot90'?"),
    "an unknown split": (("--split", "tset"), "tset"),
    "no digits": (("--invariant-digits", "0"), "give 1 to 15"),
    "a radius that is none": (("--robustness", "--radius", "-1"), "'-1' is no whole number"),
    "a radius beyond the key": (("--robustness", "--radius", "65"), "0 to 64"),
    "figures of nothing": (("--figures", "f"), "give --robustness too"),
    "figures in a file": (("--robustness", "-n", "2", "--figures", "file/f"), "cannot write"),
    "an unknown table": (("-o", "rows.txt"), ".csv or .parquet"),
    "no images": (("-d", "cifar10"), "--data"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_one_line_and_status_2(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    args, words = REFUSED[name]
    assert words in cascade("hash", *args, "--cache", "c").refusal
    assert not (tmp_path / "c").exists()


def test_the_registry_is_what_the_command_knows():
    assert set(HASHES) == {*ALL, *(f"invariants-{digits}" for digits in range(1, 16))}
    assert json.dumps([dict(each.parameters) for each in HASHES.values()])
