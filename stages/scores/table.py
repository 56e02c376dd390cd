"""logits → scores: each model's answers and how sure it is, per image.

`load` is how every later stage gets at a split: it makes the scores that are missing or stale and
lines up all models on the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

import cache
from cache import SCORES as SCHEMA, InputError, Manifest, Partition, Store, one_of
from stages import missing
from stages.notices import kept_if_writable, sound_or_told, unfinished_copy
from stages.scores.logits import Parts, cached
from stages.scores.plugin_scores import Columns, column
from stages.scores.softmax import (
    NonFiniteError,
    scores_of,
    scores_of_probabilities,
    scores_of_top,
)
from stages.scores.spec import LABEL_FREE

_FORMULAS = 1  # raised when these change, so that older scores are made again
_OF: Mapping[str, Callable[[pa.Table], dict[str, np.ndarray]]] = {
    "logits": lambda part: scores_of(cache.logits_of(part)),
    "probabilities": lambda part: scores_of_probabilities(cache.logits_of(part, "probabilities")),
    "top_k": lambda part: scores_of_top(
        *(cache.logits_of(part, name) for name in ("classes", "probabilities"))
    ),
}


@dataclass(frozen=True)
class Halves:
    """How a split is cut in two at random, each class or all at once: the one half fits λ."""

    seed: int
    stratified: bool = False


@dataclass(frozen=True)
class ScoreSet:
    """M models on the same N images of one split.

    labels int32 [N], sample_ids int64 [N]; predictions int32 and correct bool [M, N]; `scores`
    float64 [M, N] by name, those of packages made when asked for; `manifests` [M] say where each
    model's rows come from; `halves`, where these images are a half of the split, which.
    """

    dataset: str
    split: str
    models: tuple[str, ...]
    sample_ids: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    correct: np.ndarray
    scores: dict[str, np.ndarray]
    manifests: tuple[Manifest, ...]
    halves: Halves | None = None

    def index(self, model: str) -> int:
        """InputError for a model that is not here."""
        if model not in self.models:
            raise one_of(f"model on {self.dataset}/{self.split}", model, self.models)
        return self.models.index(model)

    def score(self, name: str, model: int) -> np.ndarray:
        """float64 [N]; the oracle's score is 1 where the model is right."""
        if name == "oracle":
            return self.correct[model].astype(np.float64)
        return self.scores[name][model]

    @property
    def own(self) -> tuple[str, ...]:
        """The rule's own scores that all models have: copies of other versions lack some."""
        return tuple(name for name in LABEL_FREE if name in self.scores)

    @cached_property
    def accuracy(self) -> np.ndarray:
        """float64 [M]."""
        return self.correct.mean(axis=1)

    @property
    def cut(self) -> dict[str, Any]:
        """What a result says of the halves, JSON-ready; nothing of a whole split."""
        halves = {} if self.halves is None else vars(self.halves)
        return {f"halves_{name}": value for name, value in halves.items()}

    @property
    def runtime(self) -> str | None:
        """The one that all rows come from, None where there are several."""
        found = {manifest.partition.keys["runtime"] for manifest in self.manifests}
        return found.pop() if len(found) == 1 else None

    @property
    def macs(self) -> dict[str, int | None]:
        """Model → multiply-adds of one image, None where unknown."""
        found = [manifest.provenance.get("macs") for manifest in self.manifests]
        return dict(zip(self.models, found, strict=True))

    @property
    def weights(self) -> dict[str, str | None]:
        """Model → SHA-256 of the weights that its rows come from, None where unknown."""
        found = [manifest.provenance.get("weights_sha256") for manifest in self.manifests]
        return dict(zip(self.models, found, strict=True))

    def of_images(self, keep: np.ndarray | slice) -> ScoreSet:
        """The same models on some of the images: bool [N], rows, or a slice of them."""

        def kept(values: np.ndarray) -> np.ndarray:
            # Indexing leaves a model's images apart in memory, which costs each sweep a quarter.
            return np.ascontiguousarray(values[:, keep])

        return replace(
            self,
            sample_ids=self.sample_ids[keep],
            labels=self.labels[keep],
            predictions=kept(self.predictions),
            correct=kept(self.correct),
            scores=Columns.mapped(self.scores, kept),
        )


@dataclass(frozen=True)
class ScoredModel:
    """A model on a split: how many images, and the share that it gets right."""

    model: str
    split: str
    variant: str
    runtime: str
    rows: int
    accuracy: float


def run(
    store: Store,
    dataset: str,
    splits: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    runtime: str | None = None,
    extra: Sequence[str] = (),
) -> list[ScoredModel]:
    """Make the scores of every model and split that the cache has logits of; one row each.

    `extra` names scores of packages to be made as well.
    """
    rows = []
    for split in splits or splits_of(store, dataset):
        found = load(store, dataset, split, models, runtime=runtime)
        for name in extra:
            found.scores[name]
        for m, manifest in enumerate(found.manifests):
            keys, accuracy = manifest.partition.keys, float(found.accuracy[m])
            where = (found.models[m], split, keys["variant"], keys["runtime"])
            rows.append(ScoredModel(*where, len(found.labels), accuracy))
    return rows


def load(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None = None,
    variant: str = "identity",
    runtime: str | None = None,
) -> ScoreSet:
    """The scores of the named models (default: all there are), aligned by sample id.

    A score that a copy of another version does not have is missed only by who asks for it.
    """
    unfinished_copy(store)
    chosen = _choose(store, dataset, split, models, variant, runtime)
    cache.same_images(list(chosen.values()))
    manifests, tables = zip(*(scored(store, each) for each in chosen.values()), strict=True)
    ids, labels = _column(tables[0], "sample_id"), _column(tables[0], "label")
    for table, manifest in zip(tables, manifests, strict=True):
        if not np.array_equal(_column(table, "sample_id"), ids):
            raise InputError(f"{manifest.partition} holds other samples than its siblings")

    there = set.intersection(*map(_known, tables))

    def stack(name: str) -> np.ndarray:
        return np.stack([_column(table, name) for table in tables])

    def make(name: str) -> np.ndarray:
        for table, manifest in zip(tables, manifests, strict=True):
            if name in LABEL_FREE and name not in _known(table):
                raise _lacking(store, manifest, table, name, there)
        return np.stack([column(store, manifest, name, ids) for manifest in manifests])

    return ScoreSet(
        dataset=dataset,
        split=split,
        models=tuple(chosen),
        sample_ids=ids,
        labels=labels,
        predictions=stack("prediction"),
        correct=stack("correct"),
        scores=Columns({name: stack(name) for name in LABEL_FREE if name in there}, make),
        manifests=manifests,
    )


def _known(table: pa.Table) -> set[str]:
    """The columns that are there, and not null."""
    return {name for name in table.column_names if not table.column(name).null_count}


def _lacking(
    store: Store, manifest: Manifest, table: pa.Table, name: str, there: set[str]
) -> InputError:
    keys = manifest.partition.keys
    place = f"{keys['model']} on {keys['dataset']}/{keys['split']}"
    own = ",".join(each for each in LABEL_FREE if each in there)
    if name in table.column_names:
        return InputError(
            f"the {name} of {place} is not known, as only its most probable classes are: give "
            f"--scorefn {own}"
        )
    return InputError(
        f"{store.root} has no score {name} of {place}, as another version made it, and no logits "
        f"to make it from: fetch a newer copy or one with logits, or give --scorefn {own}"
    )


def with_references(store: Store, scores: ScoreSet) -> ScoreSet:
    """The same images with all models of the same runtime, any of which could be the baseline."""
    if scores.runtime is None:
        return scores
    found = load(store, scores.dataset, scores.split, runtime=scores.runtime)
    if len(found.labels) == len(scores.labels):
        return found
    return found.of_images(np.isin(found.sample_ids, scores.sample_ids))


def splits_of(store: Store, dataset: str) -> list[str]:
    """Splits of the dataset that the cache has samples of."""
    return [found.partition.keys["split"] for found in cache.find(store, "samples", dataset)]


def models_of(
    store: Store, dataset: str, split: str, variant: str = "identity", runtime: str | None = None
) -> dict[str, list[Manifest]]:
    """Model name → its partitions, one per runtime: logits, else scores."""
    found: dict[tuple[str, str], Manifest] = {}
    for table in ("scores", *cache.OUTPUTS):
        for manifest in cache.find(store, table, dataset, split, variant):
            keys = manifest.partition.keys
            if runtime in (None, keys["runtime"]):
                found[keys["model"], keys["runtime"]] = manifest
    by_model: dict[str, list[Manifest]] = {}
    for (model, _), manifest in sorted(found.items()):
        by_model.setdefault(model, []).append(manifest)
    return by_model


def _choose(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None,
    variant: str,
    runtime: str | None,
) -> dict[str, Manifest]:
    found = models_of(store, dataset, split, variant, runtime)
    absent = [model for model in models or () if model not in found]
    if absent or not found:
        held = models_of(store, dataset, split, variant)
        raise missing.missing_logits(store, (dataset, split), absent, held, variant, runtime)
    chosen = {}
    for model in models or found:
        if len(found[model]) > 1:
            runtimes = [each.partition.keys["runtime"] for each in found[model]]
            usual_first = sorted(runtimes, key=lambda name: "-fp32-" not in name)
            advice = " or ".join(f"--runtime {name}" for name in usual_first)
            raise InputError(
                f"{model} has logits from several runtimes ({', '.join(runtimes)}): give {advice}"
            )
        chosen[model] = found[model][0]
    return chosen


def scored(store: Store, manifest: Manifest) -> tuple[Manifest, pa.Table]:
    """The scores made from these logits, made now if need be, and kept where they can be.

    Columns that this version does not know stay as they are; those of a cache without logits may
    lack some that it knows.
    """
    if manifest.partition.table == "scores":
        return manifest, cache.read_table(store, manifest)
    partition = Partition("scores", manifest.partition.values)
    identity = {
        "dataset_fingerprint": manifest.fingerprint,
        "logits": manifest.content,
        "formulas": _FORMULAS,
        "stated": {key: manifest.provenance.get(key) for key in ("trained_on", "macs")},
    }
    found = cache.load(store, partition)
    whole = True
    if found is not None and found.identity == identity and sound_or_told(store, found):
        table = cache.read_table(store, found)
        whole = set(SCHEMA.names) <= set(table.column_names)
        if whole:
            return found, table
    provenance = manifest.provenance | {"made": cache.now(), "versions": cache.versions()}
    table = score_table(store, manifest)

    def write() -> Manifest:
        with cache.lock(store, partition.guard):
            if not whole:  # of this very identity, so it would be kept
                cache.withdraw(store, partition)
            return cache.write_partition(store, partition, table, identity, provenance)

    unkept = cache.Part(cache.part_name(0), table.num_rows, 0, manifest.content)
    return kept_if_writable(store, write) or Manifest(
        partition, (unkept,), identity, provenance
    ), table


def score_table(store: Store, manifest: Manifest) -> pa.Table:
    """The scores table of a model's outputs, rows ordered by sample id."""
    labels = labels_of(store, manifest)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in SCHEMA.names}
    of = _OF[manifest.partition.table]
    for part in cache.iter_parts(store, manifest):
        ids = _column(part, "sample_id")
        try:
            out = of(part)
        except NonFiniteError as error:
            raise InputError(
                f"{manifest.partition}: sample {ids[error.row]} has a NaN or infinite logit: "
                "extract or import it again"
            ) from error
        out |= {"sample_id": ids, "label": labels[ids]}
        out["correct"] = out["prediction"] == out["label"]
        for name in out:
            columns[name].append(out[name])
    arrays = {name: np.concatenate(chunks) for name, chunks in columns.items() if chunks}
    order = np.argsort(arrays["sample_id"], kind="stable")
    unknown = pa.nulls(len(order), pa.float64())
    known = {name: pa.array(array[order]) for name, array in arrays.items()}
    return pa.table([known.get(name, unknown) for name in SCHEMA.names], schema=SCHEMA)


def labels_of(store: Store, manifest: Manifest) -> np.ndarray:
    """int32 labels indexed by sample id, of the split that a partition is about."""
    keys = manifest.partition.keys
    samples = cache.load(
        store, Partition.of("samples", dataset=keys["dataset"], split=keys["split"])
    )
    if samples is None:
        raise missing.missing_samples(store, manifest.partition)
    cache.same_images([samples, manifest])
    table = cache.read_table(store, samples, ["sample_id", "label"])
    ids, labels = _column(table, "sample_id"), _column(table, "label")
    out = np.full(int(ids.max(initial=-1)) + 1, -1, np.int32)
    out[ids] = labels
    return out


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()


def parts_of(store: Store, scores: ScoreSet, model: int) -> Parts | None:
    """The logits that the model's scores were made from, None where only scores were kept; to be
    read part by part, row i is the image `scores.sample_ids[i]`."""
    manifest = cache.load(store, scores.manifests[model].partition.logits)
    return None if manifest is None else cached(store, manifest, scores.sample_ids)
