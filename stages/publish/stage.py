"""cache → a copy to publish: a cache without images' names, a data card and checksums.

Tier `scores` holds samples, scores (packages' too), answers and costs, each request's too, which is
what every question but those about logits needs; `top10` adds the ten most probable classes of each
image, of a model of which fewer are known those, `full` the logits, probabilities or classes as
they are. The copy's samples are called row/0, row/1 …, so its fingerprints are its own. While it is
unfinished it has a marker (cache/copy_marker.py), from which a killed run is gone on with.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

import cache
from cache import (
    CLAIMS,
    KEYS,
    MANIFESTS,
    TOP10,
    InputError,
    Manifest,
    Partition,
    PartitionWriter,
    Provenance,
    Store,
    check_marker,
    describe_marker,
    digest,
    fingerprint_of,
    logits_of,
    manifest_path,
    no_room,
    one_of,
    read_marker,
    read_part,
    remove_marker,
    samples_table,
    versions,
    write_marker,
)
from stages import costs
from stages.hashes import REPEATS, repeats
from stages.publish.data_card import TIERS, PublishedModel, card
from stages.runtimes import VARIANTS
from stages.scores import TABLE, models_of, scored, splits_of, stored

CARD, SUMS = "README.md", "SHA256SUMS"
_MADE = (*KEYS, MANIFESTS, ".tmp", CARD, SUMS)
_LOCK = "publish"
_TOP = 10
_COSTS = "request_costs"
# What a copy tells of how rows were made: nothing that names a file or a folder.
_TOLD = (
    *("made", "versions", "precision", "engine", "device", "batch_size", "part_rows"),
    *("weights_sha256", "weights_origin", "trained_on", "parameters", "macs"),
    *("layout", "class_names", "labelled"),
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
    """Where rows go, by split the fingerprint there, and the partitions that are there whole."""

    store: Store
    target: Store
    wanted: Wanted
    fingerprints: dict[str, str] = field(default_factory=dict)
    made: list[Manifest] = field(default_factory=list)

    def identity(self, manifest: Manifest) -> Provenance:
        split = manifest.partition.keys["split"]
        return manifest.identity | {"dataset_fingerprint": self.fingerprints[split]}

    def write(
        self, place: Partition, table: pa.Table, identity: Provenance, told: Provenance
    ) -> Manifest:
        """Kept where a run that was killed has written it already."""
        self.made.append(cache.write_partition(self.target, place, table, identity, told))
        return self.made[-1]

    @property
    def paths(self) -> list[str]:
        """Of all files but the card and the checksums; what else lies there is not the copy's."""
        parts = [f"{made.partition.path}/{part.name}" for made in self.made for part in made.parts]
        return parts + [manifest_path(made.partition) for made in self.made]


@dataclass(frozen=True)
class PublishedCopy:
    """A whole copy: where it is, how many files and bytes, and what it holds."""

    publish: str
    dataset: str
    tier: str
    files: int
    size_bytes: int
    models: Sequence[PublishedModel]


def run(
    store: Store, target: Store, wanted: Wanted, progress: Progress = lambda done, total: None
) -> PublishedCopy:
    """Write the copy; `target` must be empty, and is again when this fails, or hold an unfinished
    copy of the same request, which is then finished.
    """
    found = _found(store, wanted)
    request = _request(store, wanted, found)
    _check_place(target, request)  # before a lock leaves its folder in somebody's files
    copy = _Copy(store, target, wanted)
    there = target.local and target.local_path("").is_dir()
    with cache.lock(target, _LOCK):
        _check_place(target, request)
        with _whole(target, there):
            write_marker(target, request)
            return _tables(copy, found, progress)


def _found(store: Store, wanted: Wanted) -> dict[str, list[Manifest]]:
    """By split what there is to copy."""
    unfinished = read_marker(store)
    if unfinished is not None:
        raise InputError(
            f"{store.root} is itself an unfinished copy{describe_marker(unfinished)}: finish "
            "it by the command that began it, then publish it"
        )
    there = splits_of(store, wanted.dataset)
    splits = list(dict.fromkeys(wanted.splits or there))
    for split in splits:
        if split not in there:
            raise one_of(f"split of {wanted.dataset} in the cache", split, there)
    found = {split: _manifests(store, wanted, split) for split in splits}
    if not any(found.values()):
        raise InputError(f"the cache has nothing of {wanted.dataset} to publish: extract it first")
    return found


def _request(store: Store, wanted: Wanted, found: dict[str, list[Manifest]]) -> dict[str, object]:
    """What must agree for a copy to be gone on with."""
    all_models = [m.partition.keys["model"] for manifests in found.values() for m in manifests]
    return {
        "dataset": wanted.dataset,
        "tier": wanted.tier,
        "splits": list(found),
        "models": list(dict.fromkeys(all_models)),
        "runtime": wanted.runtime,
        "version": versions()["cascade-cli"],
        "sources": _sources(store, wanted, found, set(all_models)),
    }


def _sources(
    store: Store, wanted: Wanted, found: dict[str, list[Manifest]], models: set[str]
) -> dict[str, str]:
    """By path a digest of the rows that are copied, and of what is told of them."""
    manifests = _costs_of(store, wanted, models)
    for split, of_models in found.items():
        beside = [
            one
            for table in (TABLE, _COSTS)
            for one in cache.find(store, table, wanted.dataset, split)
        ]
        manifests += of_models + [one for one in beside if one.partition.keys["model"] in models]
    abouts = [(manifest, _told(manifest)) for manifest in manifests]
    abouts += [_samples_of(store, wanted.dataset, split) for split in found]
    return {
        manifest.partition.path: digest([manifest.content, manifest.identity, told])
        for manifest, told in abouts
    }


def _check_place(target: Store, request: dict[str, object]) -> None:
    """InputError where there is anything but an unfinished copy of this request."""
    check_marker(target, request)
    if read_marker(target) is None and _holds_anything(target):
        raise InputError(f"{target.root} is not empty: publish into a new folder")


def _tables(copy: _Copy, found: dict[str, list[Manifest]], progress: Progress) -> PublishedCopy:
    total, done = sum(map(len, found.values())), 0
    rows = []
    for split, manifests in found.items():
        _samples(copy, split)
        for manifest in manifests:
            rows.append(_model(copy, manifest))
            progress(done := done + 1, total)
    _costs(copy, {row.model for row in rows})
    return _finished(copy, rows)


def _holds_anything(target: Store) -> bool:
    """Files, or folders of the user's own, which an object store does not have; locks, and what
    was killed before it had a marker, are nothing."""
    root = target.local_path("") if target.local else None
    with target.faults("read"):
        if root and root.is_dir():
            return any(path.name != ".tmp" for path in root.iterdir())
        return any(not path.startswith(".tmp/") for path in target.files(""))


@contextmanager
def _whole(target: Store, there: bool) -> Iterator[None]:
    """All or nothing, where a run ends by an error; the folder stays if it was `there` before."""
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
    """Delete what a copy is made of, and no more; the marker last."""
    made = [path for path in target.files("") if path.partition("/")[0] in _MADE]
    target.each(target.delete, made)
    if target.local:
        for name in _MADE:
            shutil.rmtree(target.local_path(name), ignore_errors=True)
    remove_marker(target)
    if target.local and not keep_root:
        target.local_path("").rmdir()


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


def _samples_of(store: Store, dataset: str, split: str) -> tuple[Manifest, Provenance]:
    """The samples, and what their copy tells."""
    manifest = cache.load(store, Partition.of("samples", dataset=dataset, split=split))
    if manifest is None:
        raise InputError(f"the cache has no samples of {dataset}/{split}: extract them")
    told = _told(manifest) | {"source_fingerprint": manifest.fingerprint}
    if groups := repeats(store, manifest):
        told[REPEATS] = groups
    return manifest, told


def _samples(copy: _Copy, split: str) -> None:
    """The labels, under names that say nothing."""
    manifest, told = _samples_of(copy.store, copy.wanted.dataset, split)
    table = cache.read_table(copy.store, manifest).sort_by("sample_id")
    keys = [f"row/{i}" for i in table.column("sample_id").to_pylist()]
    labels = cache.labels_in(table)
    copy.fingerprints[split] = fingerprint_of(labels, keys)
    # Without digests: they would find the pictures again.
    renamed = samples_table(table.column("sample_id"), labels, keys)
    copy.write(manifest.partition, renamed, copy.identity(manifest), told)


def _told(manifest: Manifest) -> Provenance:
    return {key: manifest.provenance[key] for key in _TOLD if key in manifest.provenance}


def _model(copy: _Copy, manifest: Manifest) -> PublishedModel:
    """One model's rows of one split; what the card says of them."""
    scores, table = scored(copy.store, manifest)
    identity = copy.identity(scores)
    tier, kind = copy.wanted.tier, manifest.partition.table
    if tier == "full" or kind == "answers":
        identity["logits"] = _by_parts(copy, manifest, kind, lambda rows: rows).content
    elif tier == "top10":
        _by_parts(copy, manifest, "top10", top10)
    copy.write(scores.partition, table, identity, _told(scores))
    requests = cache.load(copy.store, Partition(_COSTS, scores.partition.values))
    if requests is not None:
        rows = cache.read_table(copy.store, requests)
        copy.write(requests.partition, rows, copy.identity(requests), _told(requests))
    keys, told = scores.partition.keys, scores.provenance
    which = (keys["model"], keys["split"], keys["variant"], keys["runtime"])
    correct = table.column("correct")
    right = None if correct.null_count else float(correct.to_numpy().mean())
    extra = [_extra(copy, one, identity) for one in stored(copy.store, scores)]
    about = (told.get("weights_sha256"), told.get("trained_on"), extra)
    return PublishedModel(*which, table.num_rows, scores.partition.path, right, *about)


def _extra(copy: _Copy, one: Manifest, scores: Provenance) -> str:
    """A package's score, whose name it returns; it goes with the scores of this identity."""
    identity = one.identity | {key: scores.get(key) for key in ("dataset_fingerprint", "logits")}
    told = _told(one) | {"sign": one.provenance.get("sign")}
    table = cache.read_table(copy.store, one)
    copy.write(one.partition, table, identity, told)
    return one.partition.keys["score"]


def _by_parts(
    copy: _Copy, manifest: Manifest, table: str, change: Callable[[pa.Table], pa.Table]
) -> Manifest:
    """The outputs after `change` as parts of `table`; parts that are there already are kept."""
    if manifest.partition.table == "scores":
        raise InputError(
            f"the cache has no logits of {manifest.partition.keys['model']}: choose --tier scores, "
            "or extract them"
        )

    if not manifest.parts:
        raise InputError(f"{manifest.partition} has no rows: extract it again")
    place, count = Partition(table, manifest.partition.values), len(manifest.parts)
    first = change(read_part(copy.store, manifest, manifest.parts[0]))
    about = (first.schema.remove_metadata(), copy.identity(manifest), _told(manifest))
    with cache.lock(copy.target, place.guard):
        writer = PartitionWriter(copy.target, place, *about)
        for index in writer.missing(count):
            part = manifest.parts[index]
            writer.write(index, change(read_part(copy.store, manifest, part)) if index else first)
        copy.made.append(writer.finish(count))
    return copy.made[-1]


def top10(outputs: pa.Table) -> pa.Table:
    """Logits, probabilities or top-k → `classes` and `probabilities`: the ten largest of an image.

    Descending, the lower class first where two are equal; all that are known where they are fewer.
    """
    if "logits" in outputs.column_names:
        x = logits_of(outputs).astype(np.float64)
        p = np.exp(x - x.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
    else:
        x = p = logits_of(outputs, "probabilities").astype(np.float64)
    k = min(_TOP, p.shape[1])
    places = classes = _largest(x, k)
    if "classes" in outputs.column_names:  # which have an order of their own
        classes = np.take_along_axis(logits_of(outputs, "classes"), places, 1)
    offsets = pa.array(np.arange(0, len(p) * k + 1, k, dtype=np.int32))
    columns = [
        pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))
        for values in (
            classes.astype(np.int32),
            np.take_along_axis(p, places, 1).astype(np.float32),
        )
    ]
    return pa.table([outputs.column("sample_id"), *columns], schema=TOP10)


def _largest(x: np.ndarray, k: int) -> np.ndarray:
    """intp [N, k]: where each row of float64 [N, K] is largest, the lower index first of equals."""
    some = np.sort(np.argpartition(-x, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(x, some, 1)
    found = np.take_along_axis(some, np.argsort(-values, axis=1, kind="stable"), 1)
    # A partition keeps any of the values that are equal to the k-th.
    tied = np.count_nonzero(x >= values.min(axis=1, keepdims=True), axis=1) > k
    found[tied] = np.argsort(-x[tied], axis=1, kind="stable")[:, :k]
    return found


def _costs_of(store: Store, wanted: Wanted, models: set[str]) -> list[Manifest]:
    """Of the models, and of hashes."""
    there = [
        (one, one.partition.keys["model"]) for one in cache.find(store, "costs", wanted.dataset)
    ]
    return [one for one, model in there if model in models or model.startswith(costs.HASH)]


def _costs(copy: _Copy, models: set[str]) -> None:
    for manifest in _costs_of(copy.store, copy.wanted, models):
        costs.merge_from(copy.target, copy.store, manifest)
        copy.made += filter(None, [cache.load(copy.target, manifest.partition)])


def _finished(copy: _Copy, rows: Sequence[PublishedModel]) -> PublishedCopy:
    """The card and the checksums, and the marker goes."""
    wanted, target = copy.wanted, copy.target
    target.write(CARD, card(wanted.dataset, wanted.tier, rows).encode())
    sums, size = [], 0
    for path in sorted([CARD, *copy.paths]):
        content = target.read(path)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {path}\n")
        size += content.size
    target.write(SUMS, "".join(sums).encode())
    # What killed runs had not finished writing, and this one's lock; a claim goes by itself.
    left = [path for path in target.files(".tmp") if not path.startswith(CLAIMS)]
    target.each(target.delete, left)
    remove_marker(target)
    if target.local:
        shutil.rmtree(target.local_path(".tmp"), ignore_errors=True)
    return PublishedCopy(target.root, wanted.dataset, wanted.tier, len(sums) + 1, size, rows)
