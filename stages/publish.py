"""cache → a copy to publish: a cache without images' names, a data card and checksums.

Tier `scores` holds samples, scores (packages' too) and costs, which is what every question but
those about logits needs; `top10` adds the ten most probable classes of each image, `full` the
logits. The copy's samples are called row/0, row/1 …, so its fingerprints are its own.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest, Partition, PartitionWriter, Store
from cache.errors import no_room, one_of
from cache.fingerprint import fingerprint_of
from cache.manifest import FOLDER
from cache.partition import KEYS
from cache.reader import logits_of
from cache.schema import TOP10, samples_table
from stages import costs, extra_scores
from stages.data_card import card
from stages.repeats import REPEATS, repeats
from stages.score import models_of, scored, splits_of
from stages.variants import VARIANTS

TIERS = ("scores", "top10", "full")
CARD, SUMS = "README.md", "SHA256SUMS"
_MADE = (*KEYS, FOLDER, ".tmp", CARD, SUMS)
_TOP = 10
# What a copy tells of how rows were made: nothing that names a file or a folder.
_TOLD = (
    *("made", "versions", "precision", "engine", "device", "batch_size", "part_rows"),
    *("weights_sha256", "weights_origin", "trained_on", "parameters", "macs"),
    *("layout", "class_names"),
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What is published: `splits`, `models` and `runtime` are all that there are where None."""

    dataset: str
    tier: str = "scores"
    splits: Sequence[str] | None = None
    models: Sequence[str] | None = None
    runtime: str | None = None

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise one_of("tier", self.tier, TIERS)


@dataclass
class _Copy:
    """Where rows go, and by split the fingerprint there."""

    store: Store
    target: Store
    wanted: Wanted
    fingerprints: dict[str, str] = field(default_factory=dict)

    def identity(self, manifest: Manifest) -> dict[str, Any]:
        split = manifest.partition.keys["split"]
        return manifest.identity | {"dataset_fingerprint": self.fingerprints[split]}


def run(
    store: Store, target: Store, wanted: Wanted, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """Write the copy; `target` must be empty, and is again when this fails.

    Returns the models, splits, files and bytes.
    """
    if _holds_anything(target):
        raise InputError(f"{target.root} is not empty: publish into a new folder")
    there = splits_of(store, wanted.dataset)
    splits = list(dict.fromkeys(wanted.splits or there))
    for split in splits:
        if split not in there:
            raise one_of(f"split of {wanted.dataset} in the cache", split, there)
    found = {split: _manifests(store, wanted, split) for split in splits}
    if not any(found.values()):
        raise InputError(f"the cache has nothing of {wanted.dataset} to publish: extract it first")
    copy = _Copy(store, target, wanted)
    with _whole(target):
        return _tables(copy, found, progress)


def _tables(copy: _Copy, found: dict[str, list[Manifest]], progress: Progress) -> dict[str, Any]:
    total, done = sum(map(len, found.values())), 0
    rows = []
    for split, manifests in found.items():
        _samples(copy, split)
        for manifest in manifests:
            rows.append(_model(copy, manifest))
            progress(done := done + 1, total)
    _costs(copy, {row["model"] for row in rows})
    return _finished(copy, rows)


def _holds_anything(target: Store) -> bool:
    """Files, or folders of the user's own, which an object store does not have."""
    root = target.local_path("") if target.local else None
    with target.faults("read"):
        return any(root.iterdir()) if root and root.is_dir() else bool(target.files(""))


@contextmanager
def _whole(target: Store) -> Iterator[None]:
    """All or nothing: half a copy would read as a cache. The target holds nothing before."""
    there = target.local and target.local_path("").is_dir()
    try:
        yield
    except BaseException as error:
        with suppress(InputError, OSError):  # what is being raised matters more
            _clear(target, there)
        if isinstance(error, InputError) and no_room(error.__cause__):
            raise InputError(
                f"no space left for the copy {target.root}, and half of it is removed again: free "
                "some and run the same command again, it begins anew"
            ) from error
        raise


def _clear(target: Store, keep_root: bool) -> None:
    """Delete what a copy is made of, and no more."""
    made = [path for path in target.files("") if path.partition("/")[0] in _MADE]
    target.each(target.delete, made)
    if target.local:
        root = target.local_path("")
        for name in _MADE:
            shutil.rmtree(root / name, ignore_errors=True)
        if not keep_root:
            root.rmdir()


def _manifests(store: Store, wanted: Wanted, split: str) -> list[Manifest]:
    """Logits, else scores, of the models in every variant and runtime asked for."""
    found = []
    for variant in VARIANTS:
        by_model = models_of(store, wanted.dataset, split, variant, wanted.runtime)
        for model in dict.fromkeys(wanted.models or by_model):
            if model not in by_model and variant == "identity":
                raise one_of(f"model of {wanted.dataset}/{split}", model, by_model)
            found += by_model.get(model, [])
    return found


def _samples(copy: _Copy, split: str) -> None:
    """The labels, under names that say nothing."""
    partition = Partition.of("samples", dataset=copy.wanted.dataset, split=split)
    manifest = cache.load(copy.store, partition)
    if manifest is None:
        raise InputError(f"the cache has no samples of {copy.wanted.dataset}/{split}: extract them")
    table = cache.read_table(copy.store, manifest).sort_by("sample_id")
    keys = [f"row/{i}" for i in table.column("sample_id").to_pylist()]
    labels = table.column("label").to_numpy()
    copy.fingerprints[split] = fingerprint_of(labels, keys)
    # Without digests: they would find the pictures again.
    renamed = samples_table(table.column("sample_id"), table.column("label"), keys)
    told = _told(manifest) | {"source_fingerprint": manifest.fingerprint}
    if groups := repeats(copy.store, manifest):
        told[REPEATS] = groups
    cache.write_partition(copy.target, partition, renamed, copy.identity(manifest), told)


def _told(manifest: Manifest) -> dict[str, Any]:
    return {key: manifest.provenance[key] for key in _TOLD if key in manifest.provenance}


def _model(copy: _Copy, manifest: Manifest) -> dict[str, Any]:
    """One model's rows of one split; what the card says of them."""
    scores, table = scored(copy.store, manifest)
    identity = copy.identity(scores)
    if copy.wanted.tier == "full":
        identity["logits"] = _logits(copy, manifest).content
    if copy.wanted.tier == "top10":
        _top10(copy, manifest)
    cache.write_partition(copy.target, scores.partition, table, identity, _told(scores))
    extra = [_extra(copy, one, identity) for one in extra_scores.stored(copy.store, scores)]
    keys = scores.partition.keys
    return {
        **{key: keys[key] for key in ("model", "split", "variant", "runtime")},
        "images": table.num_rows,
        "path": scores.partition.path,
        "accuracy": float(table.column("correct").to_numpy().mean()),
        "weights_sha256": scores.provenance.get("weights_sha256"),
        "trained_on": scores.provenance.get("trained_on"),
        "extra": extra,
    }


def _extra(copy: _Copy, one: Manifest, scores: dict[str, Any]) -> str:
    """A package's score, whose name it returns; it goes with the scores of this identity."""
    identity = one.identity | {key: scores.get(key) for key in ("dataset_fingerprint", "logits")}
    told = _told(one) | {"sign": one.provenance.get("sign")}
    table = cache.read_table(copy.store, one)
    cache.write_partition(copy.target, one.partition, table, identity, told)
    return one.partition.keys["score"]


def _logits(copy: _Copy, manifest: Manifest) -> Manifest:
    _check_logits(copy, manifest)
    return _written(copy, manifest, manifest.partition, cache.iter_parts(copy.store, manifest))


def _top10(copy: _Copy, manifest: Manifest) -> None:
    _check_logits(copy, manifest)
    place = Partition("top10", manifest.partition.values)
    tables = (top10(table) for table in cache.iter_parts(copy.store, manifest))
    _written(copy, manifest, place, tables)


def _check_logits(copy: _Copy, manifest: Manifest) -> None:
    if manifest.partition.table != "logits":
        raise InputError(
            f"the cache has no logits of {manifest.partition.keys['model']}: choose --tier scores, "
            "or extract them"
        )


def _written(
    copy: _Copy, manifest: Manifest, place: Partition, tables: Iterator[pa.Table]
) -> Manifest:
    """The tables as parts of a partition, with the identity of the logits."""
    writer = None
    with cache.lock(copy.target, place.guard):
        for index, table in enumerate(tables):
            schema = table.schema.remove_metadata()
            writer = writer or PartitionWriter(
                copy.target, place, schema, copy.identity(manifest), _told(manifest)
            )
            writer.write(index, table)
        if writer is None:
            raise InputError(f"{manifest.partition} has no rows: extract it again")
        return writer.finish(len(manifest.parts))


def top10(logits: pa.Table) -> pa.Table:
    """A logits table → `classes` and their `probabilities`, of each image the ten largest.

    Descending, the lower class first where two are equal; all classes where there are fewer.
    """
    x = logits_of(logits).astype(np.float64)
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    k = min(_TOP, p.shape[1])
    classes = _largest(x, k)
    offsets = pa.array(np.arange(0, len(p) * k + 1, k, dtype=np.int32))
    columns = [
        pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))
        for values in (
            classes.astype(np.int32),
            np.take_along_axis(p, classes, 1).astype(np.float32),
        )
    ]
    return pa.table([logits.column("sample_id"), *columns], schema=TOP10)


def _largest(x: np.ndarray, k: int) -> np.ndarray:
    """intp [N, k]: where each row of float64 [N, K] is largest, the lower index first of equals."""
    some = np.sort(np.argpartition(-x, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(x, some, 1)
    found = np.take_along_axis(some, np.argsort(-values, axis=1, kind="stable"), 1)
    # A partition keeps any of the values that are equal to the k-th.
    tied = np.count_nonzero(x >= values.min(axis=1, keepdims=True), axis=1) > k
    found[tied] = np.argsort(-x[tied], axis=1, kind="stable")[:, :k]
    return found


def _costs(copy: _Copy, models: set[str]) -> None:
    for manifest in cache.find(copy.store, "costs", copy.wanted.dataset):
        model = manifest.partition.keys["model"]
        if model in models or model.startswith("hash:"):
            costs.merge_from(copy.target, copy.store, manifest)


def _finished(copy: _Copy, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The card and the checksums, last."""
    wanted, target = copy.wanted, copy.target
    target.write(CARD, card(wanted.dataset, wanted.tier, rows).encode())
    files = [entry for entry in target.entries("") if not entry.path.startswith(".tmp/")]
    sums = [
        f"{hashlib.sha256(target.read(entry.path)).hexdigest()}  {entry.path}\n" for entry in files
    ]
    target.write(SUMS, "".join(sums).encode())
    if target.local:
        shutil.rmtree(target.local_path(".tmp"), ignore_errors=True)
    return {
        "publish": target.root,
        "dataset": wanted.dataset,
        "tier": wanted.tier,
        "files": len(files) + 1,
        "size_bytes": sum(entry.size_bytes for entry in files),
        "models": rows,
    }
