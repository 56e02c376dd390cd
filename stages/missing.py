"""What the cache lacks, what it has instead, and the command lines that fill the gap.

A word in capitals stands for what only the user knows.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import cache
from cache import InputError, Manifest, Partition, Store

Words = list[str]

IMPORTED = "import"  # the runtime of logits that came without one
_TORCH = re.compile(r"torch-(fp32|tf32|bf16|fp16)-([a-z]+)")
_ONNX = re.compile(r"onnxruntime-(fp32|int8)-cpu|onnxruntime-(fp32|fp16)-cuda|tensorrt-fp16-cuda")


def command_line(store: Store, words: Sequence[str]) -> str:
    """`cascade WORDS`, on this cache."""
    where = [] if store.root == cache.default_root() else ["--cache", store.root]
    return shlex.join(["cascade", *words, *where])


def extract_words(
    dataset: str, split: str, models: str, variant: str = "identity", runtime: str | None = None
) -> Words:
    """Of models separated by commas."""
    turned = [] if variant == "identity" else ["--variants", variant]
    what = ["--split", split, "--models", models]
    return ["extract", *dataset_words(dataset), *what, *turned, *runtime_words(runtime)]


def named_model(model: str, said: Mapping[str, Any]) -> str:
    """The model as `extract` takes it, by what is said of its logits."""
    own = said.get("weights_origin") == "file"
    return f"{model}={said.get('architecture')}:FILE" if own else model


def import_words(dataset: str, split: str, model: str, labels: bool, kind: str = "logits") -> Words:
    """`import` of one model's outputs, with labels where the cache has none."""
    what = ["--split", split, "--model", model, f"--{kind.replace('_', '-')}", "FILE"]
    return ["import", "--dataset", dataset, *what, *(("--labels", "FILE") if labels else ())]


def hash_words(dataset: str, split: str, variant: str, algorithm: str) -> Words:
    what = ["--split", split, "--variants", variant, "--algorithms", algorithm]
    return ["hash", *dataset_words(dataset), *what]


def dataset_words(dataset: str) -> Words:
    """The dataset, and where its images are; the digits come along with scikit-learn."""
    return ["--dataset", dataset] + ([] if dataset == "digits" else ["--data", "DIR"])


def runtime_words(runtime: str | None) -> Words:
    """The options that `extract` and `profile` run in it with; none where they cannot."""
    if _ONNX.fullmatch(runtime or ""):
        return ["--runtime", str(runtime)]
    found = _TORCH.fullmatch(runtime or "")
    return ["--precision", found[1], "--device", found[2]] if found else []


_NO_COMMAND = "no command makes these, ask for others"
Held = Mapping[str, Sequence[Manifest]]
Where = tuple[str, str]  # dataset, split


class MissingError(InputError):
    """The cache lacks logits; `models` names them, empty where it lacks all, in the `runtime` that
    was asked for; `command` fills the gap, "" where none does."""

    def __init__(
        self, message: str, models: Sequence[str], command: str, runtime: str | None = None
    ) -> None:
        super().__init__(f"{message}: {f'run `{command}`' if command else _NO_COMMAND}")
        self.message, self.models, self.command = message, list(models), command
        self.runtime = runtime

    def by_record(self, facts: Mapping[str, Mapping[str, Any]]) -> MissingError:
        """With the command for models that a policy, not the cache, knows."""
        known = [facts.get(name, {}) for name in self.models]
        plain, named = (
            shlex.join(["--models", ",".join(names)])
            for names in (self.models, map(named_model, self.models, known))
        )
        if "--weights" in self.command or plain not in self.command:
            return self
        folder = any(each.get("weights_origin") == "directory" for each in known)
        named += " --weights DIR" if folder else ""
        line = self.command.replace(plain, named)
        return MissingError(self.message, self.models, line, self.runtime)


def missing_logits(
    store: Store,
    where: Where,
    models: Sequence[str],
    held: Held,
    variant: str = "identity",
    runtime: str | None = None,
    also: str = "",
) -> MissingError:
    """The error that names the command which makes them, and what makes `also` what else lacks;
    `held`: model → its partitions there, in whatever runtime; variants stand by commas."""
    wanted = f"model {', '.join(models)}" if models else "any model"
    wanted += f" in runtime {runtime}" if runtime else ""
    wanted += f" turned by {variant}" if variant != "identity" else ""
    has = _instead(store, where, models, held, bool(runtime))
    message = f"the cache has no logits of {wanted} on {'/'.join(where)} ({has})"
    command = _command(store, where, models, variant, runtime)
    line = " && ".join(filter(None, (command, command and also)))
    return MissingError(message, models, line, runtime)


def missing_samples(store: Store, logits: Partition) -> MissingError:
    """For logits whose samples are not there."""
    keys = logits.keys
    where, models = (keys["dataset"], keys["split"]), [keys["model"]]
    message = f"the cache has logits of {models[0]} on {'/'.join(where)}, but no samples"
    command = _command(store, where, models, keys["variant"], keys["runtime"])
    return MissingError(message, models, command)


def another_model(store: Store, where: Where, model: str) -> InputError:
    """For a cascade of one model: what else there is to ask for, else what brings it in."""
    place, tables = "/".join(where), (*cache.OUTPUTS, "scores")
    found = [one for table in tables for one in cache.find(store, table, *where, "identity")]
    others = sorted({one.partition.keys["model"] for one in found} - {model})
    if others:
        also = ", ".join(others)
        return InputError(f"one model only is asked for, {model}: {place} also has {also}")
    command = _command(store, where, ["NAME"], "identity", None)
    return InputError(f"{place} has one model only, {model}: run `{command}`")


def _command(
    store: Store, where: Where, models: Sequence[str], variant: str, runtime: str | None
) -> str:
    """What makes the logits, and the samples where they lack too; "" where nothing does."""
    if runtime is None and _only_imported(store, where[0], models):
        runtime = IMPORTED
    if runtime is None or runtime_words(runtime):
        names = ",".join(models) or "all"
        words = extract_words(*where, names, variant, runtime)
        folder = ["--weights", "DIR"] if _of_folder(store, where[0], models) else []
        return command_line(store, [*words, *folder])
    if runtime != IMPORTED or variant != "identity":  # which import does not turn
        return ""
    labels = not cache.exists(store, Partition("samples", where))
    each = [import_words(*where, model, labels) for model in models or ("NAME",)]
    return " && ".join(command_line(store, words) for words in each)


def _only_imported(store: Store, dataset: str, models: Sequence[str]) -> bool:
    """Whether all logits of these models were imported; of one without any, all of the dataset."""
    of: dict[str, set[str]] = {}
    for one in cache.find(store, "logits", dataset):
        of.setdefault(one.partition.keys["model"], set()).add(one.partition.keys["runtime"])
    every = set().union(*of.values())
    return all(of.get(model, every) == {IMPORTED} for model in models or [""])


def _of_folder(store: Store, dataset: str, models: Sequence[str]) -> bool:
    """Whether other logits of these models came from weights that the user named."""
    every = cache.find(store, "logits", dataset)
    mine = [one for one in every if one.partition.keys["model"] in models]
    return any(one.provenance.get("weights_origin") in ("file", "directory") for one in mine)


def _instead(
    store: Store, where: Where, models: Sequence[str], held: Held, by_runtime: bool
) -> str:
    """What the cache has in place of the models that it lacks."""
    present = (cache.datasets(store), cache.splits(store, where[0]))
    for name, there in zip(where, present, strict=True):
        if not held and there and name not in there:
            return f"the cache holds {', '.join(there)}{_near([name], there)}"
    has = _by_runtime(held) if by_runtime else ", ".join(held)
    return f"it has {has or 'none'}{_near(models, list(held))}"


def _by_runtime(held: Held) -> str:
    names: dict[str, list[str]] = {}
    for model, found in held.items():
        for one in found:
            names.setdefault(one.partition.keys["runtime"], []).append(model)
    return "; ".join(f"{', '.join(of)} in {runtime}" for runtime, of in sorted(names.items()))


def _near(wanted: Sequence[str], names: Sequence[str]) -> str:
    unknown = [name for name in wanted if name not in names]
    near = [match for match in (cache.nearest(name, names) for name in unknown) if match]
    return f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
