"""How many classes a model gives, and whether those of the images can be the same ones."""

from __future__ import annotations

from cache import InputError, Manifest, Provenance, differences
from stages.datasets import Source
from stages.extract.options import Options
from stages.extract.worker import Loaded
from stages.models import Chosen, load
from stages.runtimes import Pictures, View, engine_of, free_bytes, runner_of


def known(found: Manifest | None, identity: Provenance) -> int | None:
    """The classes that the same weights had when they ran before."""
    if found is None or "classes" not in found.identity:
        return None
    before = {key: value for key, value in found.identity.items() if key != "classes"}
    return None if differences(before, identity) else int(found.identity["classes"])


def seen(
    source: Source, split: int, chosen: Chosen, view: View, loaded: Loaded, options: Options
) -> int:
    """The length of a logits row, from a forward pass on the CPU, by the engine of the device, that
    also proves that the shapes fit.

    The module stays in `loaded` for the worker while the machine's memory is plentiful.
    """
    key, cpu = (options.runtime, chosen.name), engine_of(options.device).CPU
    module = loaded.modules.get(key)
    before = free_bytes(cpu)
    if module is None:
        module = load(chosen.spec, chosen.weights)
    pictures = Pictures.of(source, [view], loaded.pictures.get(split))
    loaded.pictures[split] = pictures.first
    pixels = pictures.batch(0, 1)[view]
    runner = runner_of(module, chosen.spec.preprocessing, cpu)
    try:
        classes = int(runner.logits(runner.upload(pixels)).shape[1])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{chosen.name} cannot take images of shape {pixels.shape[1:]}: {reason}"
        ) from error
    after = free_bytes(cpu)
    # Free memory above which another loaded model is kept.
    if before is None or after is None or after > max(8 * (before - after), 1 << 32):
        loaded.modules[key] = module
    return classes


def check(source: Source, name: str, classes: int) -> None:
    """InputError where the images' labels cannot be those that the model was trained on."""
    where = f"{source.dataset}/{source.split}"
    if source.labels.max() >= classes:
        raise InputError(
            f"{where} has label {source.labels.max()} but the weights of {name} know {classes} "
            "classes: give weights trained for this dataset"
        )
    if source.counts_folders and source.n_classes != classes:
        raise InputError(
            f"{where} has {source.n_classes} class folders but the weights of {name} know {classes}"
            " classes, so labels may be shifted: make an empty folder for a class without images"
        )
