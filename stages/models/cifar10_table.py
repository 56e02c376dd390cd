"""The 19 CIFAR-10 models of chenyaofo/pytorch-cifar-models: published figures and our own counts.

`parameters` and `macs` are counted on our definitions (10 classes, one 32 × 32 image); top-1 (on
the 10,000 official test images), multiply-adds, address and hash are the project's own. All 50,000
training images went into the published weights.
"""

from __future__ import annotations

from typing import NamedTuple

from stages.models.spec import ModelSpec, Published
from stages.runtimes import Preprocessing

SOURCE = "https://github.com/chenyaofo/pytorch-cifar-models"
PREPROCESSING = Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
Row = tuple[str, float | str, int, int, float, float, str]


class ModuleFamily(NamedTuple):
    """Models of one module; `option` is the build option that tells them apart."""

    name: str
    head: str
    option: str
    rows: tuple[Row, ...]
    fusible: bool = False


# name, option, parameters, macs, published: top-1 in %, 10⁶ multiply-adds, SHA-256 prefix
FAMILIES = (
    ModuleFamily(
        "mobilenetv2",
        head="classifier.1.weight",
        option="width",
        rows=(
            ("mobilenetv2_x0_5", 0.5, 700_490, 27_969_024, 92.88, 27.97, "ca14ced9"),
            ("mobilenetv2_x0_75", 0.75, 1_368_234, 59_310_080, 93.72, 59.31, "a53c314e"),
            ("mobilenetv2_x1_0", 1.0, 2_236_682, 87_976_448, 93.79, 87.98, "fe6a5b48"),
            ("mobilenetv2_x1_4", 1.4, 4_333_706, 170_073_344, 94.22, 170.07, "3bbbd6e2"),
        ),
    ),
    ModuleFamily(
        "repvgg",
        head="linear.weight",
        option="variant",
        rows=(
            ("repvgg_a0", "a0", 7_840_874, 489_075_200, 94.39, 489.08, "ef08a50e"),
            ("repvgg_a1", "a1", 12_824_202, 851_325_440, 94.89, 851.33, "38d2431b"),
            ("repvgg_a2", "a2", 26_815_690, 1_850_095_360, 94.98, 1850.1, "09488915"),
        ),
        fusible=True,
    ),
    ModuleFamily(
        "resnet",
        head="fc.weight",
        option="depth",
        rows=(
            ("resnet20", 20, 272_474, 40_813_184, 92.6, 40.81, "4118986f"),
            ("resnet32", 32, 466_906, 69_124_736, 93.53, 69.12, "ef93fc4d"),
            ("resnet44", 44, 661_338, 97_436_288, 94.01, 97.44, "2a3cabcb"),
            ("resnet56", 56, 855_770, 125_747_840, 94.37, 125.75, "187c023a"),
        ),
    ),
    ModuleFamily(
        "shufflenetv2",
        head="fc.weight",
        option="width",
        rows=(
            ("shufflenetv2_x0_5", 0.5, 352_042, 10_902_016, 90.13, 10.9, "1308b4e9"),
            ("shufflenetv2_x1_0", 1.0, 1_263_854, 45_002_112, 92.98, 45.0, "98807be3"),
            ("shufflenetv2_x1_5", 1.5, 2_488_874, 94_259_712, 93.55, 94.26, "296694dd"),
            ("shufflenetv2_x2_0", 2.0, 5_365_486, 187_811_200, 93.81, 187.81, "ec31611c"),
        ),
    ),
    ModuleFamily(
        "vgg",
        head="classifier.6.weight",
        option="depth",
        rows=(
            ("vgg11_bn", 11, 9_756_426, 153_293_824, 92.79, 153.29, "eaeebf42"),
            ("vgg13_bn", 13, 9_941_322, 228_791_296, 94.0, 228.79, "c01e4a43"),
            ("vgg16_bn", 16, 15_253_578, 313_725_952, 94.16, 313.73, "6ee7ea24"),
            ("vgg19_bn", 19, 20_565_834, 398_660_608, 93.91, 398.66, "57191229"),
        ),
    ),
)


def _spec(family: ModuleFamily, row: Row) -> ModelSpec:
    name, option, parameters, macs, top1, madds, prefix = row
    url = f"{SOURCE}/releases/download/{family.name}/cifar10_{name}-{prefix}.pt"
    return ModelSpec(
        name=name,
        dataset="cifar10",
        family=f"cifar_{family.name}",
        options={family.option: option},
        classes=10,
        preprocessing=PREPROCESSING,
        parameters=parameters,
        macs=macs,
        head=family.head,
        published=Published(round(top1 / 100, 4), url, prefix, round(madds * 1e6), SOURCE),
        fusible=family.fusible,
    )


SPECS = tuple(_spec(family, row) for family in FAMILIES for row in family.rows)
