"""Write random but repeatable weights: for tests and benchmarks, where only speed and rows matter.

Output: DIR/NAME.safetensors for every model of the dataset, or those named, and a JSON beside each
that says that no split was seen. A model's tensors depend on its name and --seed alone.

    python -m tools.seed_weights imagenet seeded --models resnet18,swin_t
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from urllib.parse import quote

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from stages.models import ModelSpec, get, instantiate, specs


def seeded(spec: ModelSpec, seed: int = 0, classes: int | None = None) -> dict[str, Tensor]:
    """A state dict of the model under which its answers depend on the picture.

    Its own initialisation, with batch statistics taken from a few random pictures, else signals
    fade or explode with depth; logits are centred and scaled to a standard deviation of 3 there.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(zlib.crc32(f"{spec.name} {seed}".encode()))
        model = instantiate(spec, classes)
        images = _pictures(spec)
        norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
        for norm in norms:
            norm.train().momentum = None  # the batch's own statistics, whole
        model(images)
        logits = model.eval()(images)
        state = model.state_dict()
        scale = 3 / (logits - logits.mean(0)).std().clamp_min(1e-12)
        bias = spec.head.removesuffix("weight") + "bias"
        if bias in state:
            state[bias] = (state[bias] - logits.mean(0)) * scale
        state[spec.head] = state[spec.head] * scale
    return state


def _pictures(spec: ModelSpec, count: int = 8) -> Tensor:
    """Normalised random pictures [count, C, h, w], with detail of all sizes as photographs have."""
    channels, size = len(spec.preprocessing.mean), spec.preprocessing.size or (32, 32)
    layers = [torch.randn(count, channels, side, side) for side in (1, 3, 9, 27, 81)]
    grown = [functional.interpolate(layer, size, mode="bilinear") for layer in layers]
    return 0.6 * sum(grown[1:], grown[0])


def write(spec: ModelSpec, folder: Path, seed: int = 0, classes: int | None = None) -> Path:
    """The state dict as NAME.safetensors; its path."""
    path = folder / f"{quote(spec.name, safe='')}.safetensors"
    state = {name: tensor.contiguous() for name, tensor in seeded(spec, seed, classes).items()}
    save_file(state, path)
    path.with_suffix(".json").write_text(json.dumps({"trained_on": []}) + "\n", encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", help="names separated by commas; all of the dataset by default")
    parser.add_argument("--classes", type=int, help="another class count than the models' own")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    names = given.models.split(",") if given.models else [s.name for s in specs(given.dataset)]
    for name in names:
        print(write(get(name, given.dataset), given.folder, given.seed, given.classes))


if __name__ == "__main__":
    main()
