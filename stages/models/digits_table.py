"""What the embedded digits offer to run: four small CNNs, trained by `tools/train_digits.py`."""

from __future__ import annotations

from stages.datasets import SPECS as DATASETS
from stages.models.spec import ModelSpec
from stages.runtimes import Preprocessing

PREPROCESSING = Preprocessing(DATASETS["digits"].mean, DATASETS["digits"].std)


def _spec(kind: str, parameters: int, macs: int, top1: float) -> ModelSpec:
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
        shipped_top1=top1,
    )


SPECS = (
    _spec("wide", parameters=2_410, macs=8_832, top1=0.898),
    _spec("separable", parameters=1_738, macs=20_976, top1=0.948),
    _spec("plain", parameters=3_706, macs=49_344, top1=0.964),
    _spec("residual", parameters=38_266, macs=828_736, top1=0.988),
)
