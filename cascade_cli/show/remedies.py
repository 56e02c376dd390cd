"""The command that makes a damaged partition again."""

from __future__ import annotations

from collections.abc import Callable

import cache
from cache import Store, exists, path_segments
from cache.upkeep import Damage
from stages import missing
from stages.costs import ELSEWHERE, HASH
from stages.missing import Words
from stages.publish import SUMS
from stages.results import STAGES


def remedy(command: str | None) -> str:
    """In words; `None` is what no command mends."""
    return f"run `{command}`" if command else "fetch or publish the copy again"


def remedy_command(store: Store, damage: Damage) -> str | None:
    """A command line that mends it; a word in capitals or `…` stands for what only the user knows.

    None where it came with a published copy, which has nothing to make it from.

    A damaged manifest goes first: while it lies there, nobody can tell what it was. So do costs,
    which commands read to see what there is left to measure, and results of an earlier version,
    which no command makes again.
    """
    table, keys = damage.partition.table, damage.partition.keys
    again = None if _summed(store, damage.path) else _COMMANDS[table](store, damage)
    if again is None:
        return None
    command = again[0] if again else ""
    for field in _SIZES.get(command, ()):  # other sizes would make all parts again
        if damage.said.get(field):
            again += [f"--{field.replace('_', '-')}", str(damage.said[field])]
    lines = [missing.command_line(store, again).replace("'…'", "…")] if again else []
    manifest = damage.path.startswith("_manifests/")
    if manifest or table == "costs" or not again:
        named = [word for key, name in keys.items() for word in (f"--{key}", name)]
        removal = ["cache", "rm", "--table", table, *named, "--yes"]
        removal += ["--damaged"] if manifest else []
        lines.insert(0, missing.command_line(store, removal))
    return " && ".join(lines)


def _summed(store: Store, path: str) -> bool:
    """Whether the checksums of a published copy name the file, or files of the folder; of one that
    is unfinished there are none yet."""
    if cache.read_marker(store) is not None:
        return True
    try:
        lines = store.read(SUMS).to_pybytes().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return False
    return any(f"{line.partition('  ')[2]}/".startswith(f"{path}/") for line in lines)


def _samples(store: Store, damage: Damage) -> Words:
    keys, said = damage.partition.keys, damage.said
    without = [] if said.get("labelled", True) else ["--unlabelled"]
    # Only extract makes timings: they tell where a damaged manifest does not.
    timings = "/".join(["timings", *path_segments("timings", damage.partition.values)])
    if said.get("layout") == "import" or not (said or store.files(timings)):
        words = missing.import_words(keys["dataset"], keys["split"], "NAME", labels=not without)
        words += ["--class-names", "FILE"] if said.get("class_names") else []
        return words + without
    return missing.extract_words(keys["dataset"], keys["split"], "NAME") + without


def _logits(store: Store, damage: Damage) -> Words:
    imported = damage.partition.keys["runtime"] == missing.IMPORTED
    return (_imported if imported else _extracted)(damage)


def _imported(damage: Damage) -> Words:
    """With what was stated of the model, which would be forgotten."""
    (dataset, split, *_, model), said = damage.partition.values, damage.said
    words = missing.import_words(dataset, split, model, False, damage.partition.table)
    seen = said.get("trained_on") or {}
    words += ["--trained-on", ",".join(seen["splits"])] if seen.get("source") == "stated" else []
    return words + (["--macs", str(said["macs"])] if said.get("macs") else [])


def _extracted(damage: Damage) -> Words:
    """From the weights and by the decoder that made it."""
    keys, said = dict(damage.partition.keys), damage.said
    model, origin = keys.pop("model"), said.get("weights_origin")
    words = missing.extract_words(models=missing.named_model(model, said), **keys)
    words += ["--weights", "DIR"] if origin == "directory" else []
    decoder = said.get("decoder") or "pil"
    return words if decoder == "pil" else [*words, "--decoder", decoder]


def _scores(store: Store, damage: Damage) -> Words | None:
    """`score` is about images as they are; those of turned ones are made by a stream of them."""
    keys, where = damage.partition.keys, _where(damage)
    if not any(exists(store, place) for place in damage.partition.outputs):
        return None
    which = ["--scorefn", keys["score"]] if "score" in keys else []
    which += ["--runtime", keys["runtime"]]
    if keys["variant"] == "identity":
        return ["score", *where, "--models", keys["model"], *which]
    return ["simulate", *where, "-m1", keys["model"], *which, *_TURNED, "…"]


def _costs(store: Store, damage: Damage) -> Words:
    keys = damage.partition.keys
    images = missing.dataset_words(keys["dataset"])
    measured = missing.runtime_words(keys["runtime"])
    if measured:
        return ["profile", *images, "--models", keys["model"], *measured]
    if keys["model"].startswith(HASH) and keys["runtime"] != ELSEWHERE:
        return ["hash", *images, "--algorithms", keys["model"].removeprefix(HASH)]
    named = [] if keys["runtime"] == ELSEWHERE else ["--runtime", keys["runtime"]]
    return ["import-costs", "FILE", "--dataset", keys["dataset"], *named]


def _results(store: Store, damage: Damage) -> Words:
    """On the split that fitted; which models, scores and so on only the user knows."""
    stage = damage.partition.keys["stage"]
    if stage not in STAGES:
        return []
    words = [*STAGES[stage].split(), *_where(damage)]
    fit = damage.said.get("request", {}).get("fit")
    if isinstance(fit, list) and fit[0] != "cross-fit":
        words += ["--fit-split", fit[1]]
    return [*words, "…"]


def _where(damage: Damage) -> Words:
    keys = damage.partition.keys
    return ["--dataset", keys["dataset"], "--split", keys["split"]]


_TURNED = ("--duplicates", "1", "--rotations", "1")  # every image once more, turned


_SIZES = {"extract": ("batch_size", "part_rows"), "hash": ("part_rows",)}


_COMMANDS: dict[str, Callable[[Store, Damage], Words | None]] = {
    "samples": _samples,
    "logits": _logits,
    "probabilities": lambda store, damage: _imported(damage),
    "top_k": lambda store, damage: _imported(damage),
    "answers": lambda store, damage: _imported(damage),
    "request_costs": lambda store, damage: _imported(damage),
    "timings": _logits,
    "scores": _scores,
    "extra_scores": _scores,
    "top10": lambda store, damage: None,
    "costs": _costs,
    "hashes": lambda store, damage: missing.hash_words(**damage.partition.keys),
    "streams": lambda store, damage: ["simulate", *_where(damage), "…"],
    "results": _results,
}
