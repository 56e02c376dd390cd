"""What the embedded digits offer to run: four small CNNs, trained by `tools/train_digits.py`."""

from __future__ import annotations

from stages.models.spec import ModelSpec
from stages.preprocess import Preprocessing

# Mean and standard deviation of the train split's grey values in [0, 1].
PREPROCESSING = Preprocessing(mean=(0.3062,), std=(0.3765,))

# Share of the test split that the shipped weights get right. The splits share their writers.
TOP1 = {
    "digits_wide": 0.898,
    "digits_separable": 0.948,
    "digits_plain": 0.964,
    "digits_residual": 0.988,
}


def _spec(kind: str, parameters: int, macs: int) -> ModelSpec:
    return ModelSpec(
        name=f"digits_{kind}",
        dataset="digits",
        family="digits",
        options={"kind": kind},
        classes=10,
        preprocessing=PREPROCESSING,
        parameters=parameters,
        macs=macs,
        head="head.weight",
        shipped=f"digits_{kind}.pt",
        trained_on=("train",),
    )


SPECS = (
    _spec("wide", parameters=2_410, macs=8_832),
    _spec("separable", parameters=1_738, macs=20_976),
    _spec("plain", parameters=3_706, macs=49_344),
    _spec("residual", parameters=38_266, macs=828_736),
)
