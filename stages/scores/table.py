"""logits → scores: each model's answers and how sure it is, per image.

`load` is how every later stage gets at a split: it makes the scores that are missing or stale and
lines up all models on the same images.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

import cache
from cache import SCORES as SCHEMA, InputError, Manifest, Partition, Store, nearest, one_of
from stages import missing
from stages.notices import kept_if_writable, sound_or_told, unfinished_copy
from stages.scores.candidates import Held, candidate, in_runtime, partitions_of
from stages.scores.fitted import Coefficients
from stages.scores.logits import Parts, cached
from stages.scores.losses import Loss
from stages.scores.nobody import Nobody, check_reserved
from stages.scores.plugin_scores import Columns, column
from stages.scores.registry import named
from stages.scores.softmax import (
    NonFiniteError,
    scores_of,
    scores_of_probabilities,
    scores_of_top,
)
from stages.scores.spec import LABEL_FREE

# The kinds of cost that request_costs has under another name, with the unit.
_KINDS = {"energy_j": "joules", "latency_ms": "latency"}
_FORMULAS = 1  # raised when these change, so that older scores are made again
_OF: Mapping[str, Callable[[pa.Table], dict[str, np.ndarray]]] = {
    "logits": lambda part: scores_of(cache.logits_of(part)),
    "probabilities": lambda part: scores_of_probabilities(cache.logits_of(part, "probabilities")),
    "top_k": lambda part: scores_of_top(
        *(cache.logits_of(part, name) for name in ("classes", "probabilities"))
    ),
    "answers": lambda part: {name: _column(part, name) for name in part.column_names},
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
    float64 [M, N] by name, those of packages made when asked for, InputError for what not all of
    the models have; `manifests` [M] say where each model's rows come from. `request_costs` float64
    [M, N] by kind, those that any model has: what each request cost, NaN where unknown. `halves`,
    where these images are a half of the split, which. `means` float64 [2, N]: what the mean of
    several models' probabilities answers, and by how much, by their names, of those that were made;
    `coefficients` of fitted scores, by name and model. `earned`, where a `loss` says what answers
    cost: minus that, int [M, N] in units of 1/scale. `nobody`: the last row is that of a last stage
    which is no model, see `with_nobody`.
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
    request_costs: Mapping[str, np.ndarray] = field(default_factory=dict)
    halves: Halves | None = None
    means: Mapping[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    coefficients: Mapping[str, Mapping[str, Coefficients]] = field(default_factory=dict)
    earned: np.ndarray | None = None
    loss: Loss | None = None
    nobody: Nobody | None = None

    @property
    def credit(self) -> np.ndarray:
        """int [M, N] of a type that holds its differences: what each answer is worth, by default 1
        where it is right."""
        return self.correct.view(np.int8) if self.earned is None else self.earned

    def mean_loss(self, credit: np.ndarray) -> float | None:
        """Of answers that earn this, int [N]; None where answers have no loss."""
        if self.loss is None:
            return None
        return float(-credit.sum(dtype=np.int64)) / (len(credit) * self.loss.scale)

    def baseline(self, m: int) -> np.ndarray:
        """bool [N]: model m alone is right; under a loss int64 [2, N], below it its credit."""
        right = self.correct[m]
        return right if self.loss is None else np.stack([right, self.credit[m].astype(np.int64)])

    def index(self, model: str) -> int:
        """InputError for a model that is not here."""
        if model not in self.models:
            raise one_of(f"model on {self.dataset}/{self.split}", model, self.models)
        return self.models.index(model)

    def score(self, name: str, model: int) -> np.ndarray:
        """float64 [N]; the oracle's score is 1 where the model is right. To a post-check nobody's
        row is surer than any."""
        if name == "oracle":
            return self.correct[model].astype(np.float64)
        if self.nobody is not None and model % len(self.models) == len(self.models) - 1:
            return np.full(len(self.labels), named(name).sign * np.inf)
        return self.scores[name][model]

    @property
    def own(self) -> tuple[str, ...]:
        """The scores that all models have: of the rule's own, which copies of other versions and
        answers lack some of, then confidences by name."""
        given = (name for name in self.scores if not named(name).comparable)
        return (*(name for name in LABEL_FREE if name in self.scores), *given)

    @property
    def runs(self) -> np.ndarray:
        """bool [M]: rows of models, that may be first, or deployed alone."""
        return np.arange(len(self.models)) < len(self.models_that_run)

    @property
    def models_that_run(self) -> tuple[str, ...]:
        """Those that may be first, or deployed alone."""
        return self.models if self.nobody is None else self.models[:-1]

    @cached_property
    def accuracy(self) -> np.ndarray:
        """float64 [M]."""
        return self.correct.mean(axis=1)

    @property
    def cut(self) -> dict[str, int | bool]:
        """What a result says of the halves, JSON-ready; nothing of a whole split."""
        halves = {} if self.halves is None else vars(self.halves)
        return {f"halves_{name}": value for name, value in halves.items()}

    @property
    def runtime(self) -> str | None:
        """The one that all rows come from, None where there are several."""
        found = {manifest.partition.keys["runtime"] for manifest in self.manifests}
        return found.pop() if len(found) == 1 else None

    @property
    def by_runtime(self) -> bool:
        """Whether any model is here as MODEL@RUNTIME."""
        found = (manifest.partition.keys["model"] for manifest in self.manifests)
        return self.models != tuple(found)

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
            earned=None if self.earned is None else kept(self.earned),
            scores=Columns.mapped(self.scores, kept),
            request_costs={name: kept(each) for name, each in self.request_costs.items()},
            means={names: answers[:, keep] for names, answers in self.means.items()},
        )


@dataclass(frozen=True)
class ScoredModel:
    """A model on a split: how many images, and the share that it gets right; None where nobody
    knows the labels."""

    model: str
    split: str
    variant: str
    runtime: str
    rows: int
    accuracy: float | None


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
        found = _load(store, dataset, split, models, runtime=runtime)
        known = not cache.unlabelled(found.labels)
        for name in extra:
            found.scores[name]
        for m, manifest in enumerate(found.manifests):
            keys, accuracy = manifest.partition.keys, float(found.accuracy[m]) if known else None
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
    """The scores of the named models (default: all there are), aligned by sample id; of one in
    several runtimes as MODEL@RUNTIME, whatever `runtime` is.

    A score that a copy of another version does not have is missed only by who asks for it.
    InputError for a split without labels.
    """
    found = _load(store, dataset, split, models, variant, runtime)
    if cache.unlabelled(found.labels):
        raise InputError(
            f"{dataset}/{split} has no labels: give a split that has, or run `cascade certify "
            f"MAX_LOSS,RISK --unlabelled {shlex.quote(split)}`, which does without"
        )
    return found


def _load(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None = None,
    variant: str = "identity",
    runtime: str | None = None,
) -> ScoreSet:
    """The same with or without labels: without, all are UNLABELLED and no answer is correct."""
    unfinished_copy(store)
    chosen = _choose(store, dataset, split, models, variant, runtime)
    cache.same_images(list(chosen.values()))
    manifests, tables = zip(*(scored(store, each) for each in chosen.values()), strict=True)
    ids, labels = _column(tables[0], "sample_id"), cache.labels_in(tables[0])
    for table, manifest in zip(tables, manifests, strict=True):
        if not np.array_equal(_column(table, "sample_id"), ids):
            raise InputError(f"{manifest.partition} holds other samples than its siblings")

    known = [_known(*each) for each in zip(manifests, tables, strict=True)]
    there = _in_order(set.intersection(*known))

    known_labels = not cache.unlabelled(labels)

    def stack(name: str) -> np.ndarray:
        return np.stack([_column(table, name) for table in tables])

    def make(name: str) -> np.ndarray:
        given = name in LABEL_FREE or not named(name).comparable
        for m, manifest in enumerate(manifests):
            if given and name not in known[m]:
                raise _lacking(store, manifest, tables[m], name, there)
        return np.stack([column(store, manifest, name, ids) for manifest in manifests])

    return ScoreSet(
        dataset=dataset,
        split=split,
        models=tuple(chosen),
        sample_ids=ids,
        labels=labels,
        predictions=stack("prediction"),
        correct=stack("correct") if known_labels else np.zeros((len(tables), len(ids)), np.bool_),
        scores=Columns({name: stack(name) for name in there}, make),
        manifests=manifests,
        request_costs=_request_costs(store, manifests, ids),
    )


def load_unlabelled(
    store: Store,
    dataset: str,
    split: str,
    reference: str,
    models: Sequence[str] | None = None,
    variant: str = "identity",
    runtime: str | None = None,
) -> ScoreSet:
    """As `load`, of a split with or without labels, where `labels` are what the model `reference`
    answers: `correct` says which answers are the reference's. It need not be one of `models`."""
    own = _load(store, dataset, split, [reference], variant, runtime)
    found = _load(store, dataset, split, models, variant, runtime)
    cache.same_images([*own.manifests, *found.manifests])
    (answers,) = own.predictions
    return replace(found, labels=answers, correct=found.predictions == answers)


def _known(manifest: Manifest, table: pa.Table) -> set[str]:
    """The scores that are there, and not null."""
    names = {*LABEL_FREE, *manifest.identity.get("confidences", ())}.intersection(
        table.schema.names
    )
    return {name for name in names if not table.column(name).null_count}


def _in_order(names: set[str]) -> tuple[str, ...]:
    """The rule's own, then confidences by name."""
    return (*(name for name in LABEL_FREE if name in names), *sorted(names - {*LABEL_FREE}))


def _request_costs(
    store: Store, manifests: Sequence[Manifest], ids: np.ndarray
) -> dict[str, np.ndarray]:
    """By kind float64 [M, N], of the samples int64 [N]; NaN where a model has none."""
    found: dict[str, np.ndarray] = {}
    dataset, split, variant, *_ = manifests[0].partition.values
    priced = cache.find(store, "request_costs", dataset, split, variant)
    by_model = {costs.partition.values: costs for costs in priced}
    for m, manifest in enumerate(manifests):
        costs = by_model.get(manifest.partition.values)
        if costs is None:
            continue
        cache.same_images([manifest, costs])
        table = cache.read_table(store, costs)
        _, here, there = np.intersect1d(ids, _column(table, "sample_id"), return_indices=True)
        for name in table.column_names[1:]:
            kind, unknown = _KINDS.get(name, name), np.full((len(manifests), len(ids)), np.nan)
            each = found.setdefault(kind, unknown)
            each[m, here] = _column(table, name)[there]
    return found


def _lacking(
    store: Store, manifest: Manifest, table: pa.Table, name: str, there: Sequence[str]
) -> InputError:
    keys = manifest.partition.keys
    place = f"{keys['model']} on {keys['dataset']}/{keys['split']}"
    own = ",".join(there)
    if name in table.column_names or name not in LABEL_FREE:
        answers = "confidences" in manifest.identity or name not in LABEL_FREE
        why = "it is no confidence of theirs" if answers else "only its most probable classes are"
        remedy = f"give --scorefn {own}" if own else "the models have no score in common"
        if near := nearest(name, there):
            remedy = f"did you mean {near!r}?"
        return InputError(f"the {name} of {place} is not known, as {why}: {remedy}")
    return InputError(
        f"{store.root} has no score {name} of {place}, as another version made it, and no logits "
        f"to make it from: fetch a newer copy or one with logits, or give --scorefn {own}"
    )


def with_references(store: Store, scores: ScoreSet) -> ScoreSet:
    """The same images with all models of the same runtime, any of which could be the baseline."""
    if scores.runtime is None or scores.by_runtime:
        return scores
    found = load(store, scores.dataset, scores.split, runtime=scores.runtime)
    if len(found.labels) == len(scores.labels):
        return found
    return found.of_images(np.isin(found.sample_ids, scores.sample_ids))


def named_classes(store: Store, scores: ScoreSet) -> list[str]:
    """What the samples call their classes, in the order of the labels, or those of another split
    where they have none; empty where they do not."""
    place = Partition.of("samples", dataset=scores.dataset, split=scores.split)
    manifest = cache.load(store, place)
    found = [] if manifest is None else [manifest]
    if manifest is not None and not manifest.labelled:  # other splits may tell them
        found += cache.find(store, "samples", scores.dataset)
    names = (each.provenance.get("class_names") for each in found)
    return [str(name) for name in next(filter(None, names), ())]


def splits_of(store: Store, dataset: str) -> list[str]:
    """Splits of the dataset that the cache has samples of."""
    return [found.partition.keys["split"] for found in cache.find(store, "samples", dataset)]


def labelled_splits_of(store: Store, dataset: str) -> list[str]:
    """Those of which the labels are known."""
    found = cache.find(store, "samples", dataset)
    return [each.partition.keys["split"] for each in found if each.labelled]


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
    held = models_of(store, dataset, split, variant)
    found = held if runtime is None else models_of(store, dataset, split, variant, runtime)
    _check_told_apart(models or (), held, runtime)
    check_reserved(models or found)
    chosen, absent = {}, []
    for model in models or found:
        name, own = in_runtime(model, held)
        there = partitions_of(model, found if own is None else held)
        if not there and own is not None:
            raise missing.missing_logits(store, (dataset, split), [name], held, variant, own)
        if not there:
            absent.append(model)
            continue
        if len(there) > 1:
            runtimes = [each.partition.keys["runtime"] for each in there]
            usual_first = sorted(runtimes, key=lambda name: "-fp32-" not in name)
            advice = " or ".join(f"--runtime {name}" for name in usual_first)
            raise InputError(
                f"{model} has logits from several runtimes ({', '.join(runtimes)}): give {advice}"
            )
        chosen[model] = there[0]
    if absent or not chosen:
        raise missing.missing_logits(store, (dataset, split), absent, held, variant, runtime)
    return chosen


def _check_told_apart(models: Sequence[str], held: Held, runtime: str | None) -> None:
    """InputError for a model without a runtime beside one in its own, which may be the same."""
    own = {name: in_runtime(name, held)[1] for name in models}
    plain = [name for name in models if own[name] is None]
    others = [its for its in own.values() if its is not None]
    if plain and others:
        raise InputError(
            f"{', '.join(plain)} stands beside a model in a runtime of its own: name that of "
            f"each, as {candidate(plain[0], runtime or others[0])}"
        )


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
    if "confidences" in manifest.identity:
        identity["confidences"] = manifest.identity["confidences"]
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
    known = not cache.unlabelled(labels)
    columns = defaultdict[str, list[np.ndarray]](list)
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
        out["sample_id"] = ids
        if known:
            out["label"] = labels[ids]
            out["correct"] = out["prediction"] == out["label"]
        for name in out:
            columns[name].append(out[name])
    arrays = {name: np.concatenate(chunks) for name, chunks in columns.items()}
    order = np.argsort(arrays["sample_id"], kind="stable")
    fields = [field if field.name in arrays else field.with_nullable(True) for field in SCHEMA]
    fields += [pa.field(name, pa.float64(), False) for name in arrays if name not in SCHEMA.names]
    filled = [
        pa.array(arrays[f.name][order]) if f.name in arrays else pa.nulls(len(order), f.type)
        for f in fields
    ]
    return pa.table(filled, schema=pa.schema(fields))


def labels_of(store: Store, manifest: Manifest) -> np.ndarray:
    """int32 labels indexed by sample id, of the split that a partition is about; UNLABELLED where
    it has none."""
    keys = manifest.partition.keys
    samples = cache.load(
        store, Partition.of("samples", dataset=keys["dataset"], split=keys["split"])
    )
    if samples is None:
        raise missing.missing_samples(store, manifest.partition)
    cache.same_images([samples, manifest])
    table = cache.read_table(store, samples, ["sample_id", "label"])
    ids, labels = _column(table, "sample_id"), cache.labels_in(table)
    out = np.full(int(ids.max(initial=-1)) + 1, cache.UNLABELLED, np.int32)
    out[ids] = labels
    return out


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()


def parts_of(store: Store, scores: ScoreSet, model: int) -> Parts | None:
    """The logits that the model's scores were made from, None where only scores were kept; to be
    read part by part, row i is the image `scores.sample_ids[i]`."""
    manifest = cache.load(store, scores.manifests[model].partition.logits)
    return None if manifest is None else cached(store, manifest, scores.sample_ids)
