"""torchvision's classifiers, inputs [B, 3, h, w] → logits [B, K].

googlenet and inception_v3 are built without the auxiliary heads that only training uses, and renew
their input's normalisation as the published weights expect it (`transform_input`).
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

_INFERENCE = {"aux_logits": False, "transform_input": True, "init_weights": True}
FIXED = {"googlenet": _INFERENCE, "inception_v3": _INFERENCE}
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}

# Published files keep the names that tensors had before torchvision renamed its modules.
_RENAMED: dict[str, tuple[re.Pattern[str], Any]] = {
    "densenet": (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    "vit": (re.compile(r"\.mlp\.linear_([12])\."), lambda old: f".mlp.{3 * (int(old[1]) - 1)}."),
}


def build(classes: int, architecture: str, **options: Any) -> nn.Module:
    """The architecture of that name in eval mode, without trained weights."""
    from torchvision.models import get_model

    options = FIXED.get(architecture, {}) | options
    if not architecture.startswith("regnet"):
        return get_model(architecture, weights=None, num_classes=classes, **options).eval()
    with torch.device("cpu"):  # it reads its widths out of tensors, which the meta device cannot
        model = get_model(architecture, weights=None, num_classes=1, **options)
    model.fc = nn.Linear(model.fc.in_features, classes)
    return model.eval()


def adapt(state: dict[str, Tensor], architecture: str, **options: Any) -> dict[str, Tensor]:
    """A file's tensors under the names of `build`'s, without those of the auxiliary heads."""
    unused = AUXILIARY.get(architecture, ())
    state = {name: tensor for name, tensor in state.items() if not name.startswith(unused)}
    for family, (old, new) in _RENAMED.items():
        if architecture.startswith(family):
            state = {old.sub(new, name): tensor for name, tensor in state.items()}
    return state
