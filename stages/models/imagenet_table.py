"""ImageNet classifiers of torchvision with their weights `IMAGENET1K_V1`: figures and our counts.

`parameters` and `macs` are counted on what runs (1,000 classes, one image of the crop's size, the
auxiliary heads of training left out); top-1 on the 50,000 validation images, multiply-adds, file
and preprocessing are torchvision's own. All were trained on the split `train`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stages.models.spec import ModelSpec, Published
from stages.runtimes import Preprocessing

SOURCE = "https://docs.pytorch.org/vision/stable/models.html"
STORE = "https://download.pytorch.org/models/"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Row = tuple[str, int, int, int, float, float, str]


class HeadFamily(NamedTuple):
    """Architectures with one kind of head; `crop` is the input's side in pixels."""

    head: str
    rows: tuple[Row, ...]
    crop: int = 224
    interpolation: str = "bilinear"


# name, shorter side after resizing, parameters, macs,
# published: top-1 in %, 10⁹ multiply-adds, SHA-256 prefix
FAMILIES = (
    HeadFamily(
        head="classifier.2.weight",
        rows=(
            ("convnext_small", 230, 50_223_688, 8_683_712_256, 83.616, 8.684, "0c510722"),
            ("convnext_tiny", 236, 28_589_128, 4_455_531_264, 82.52, 4.456, "983f1562"),
        ),
    ),
    HeadFamily(
        head="classifier.weight",
        rows=(
            ("densenet121", 256, 7_978_856, 2_834_161_664, 74.434, 2.834, "a639ec97"),
            ("densenet161", 256, 28_681_000, 7_727_907_072, 77.138, 7.728, "8d451a50"),
            ("densenet169", 256, 14_149_480, 3_359_843_328, 75.6, 3.36, "b2777c0a"),
            ("densenet201", 256, 20_013_928, 4_291_365_888, 76.896, 4.291, "c1103571"),
        ),
    ),
    HeadFamily(
        head="fc.weight",
        rows=(("googlenet", 256, 6_624_904, 1_498_376_192, 69.778, 1.498, "1378be20"),),
    ),
    HeadFamily(
        head="fc.weight",
        crop=299,
        rows=(("inception_v3", 342, 23_834_568, 5_713_216_096, 77.294, 5.713, "0cc3c7bd"),),
    ),
    HeadFamily(
        head="classifier.1.weight",
        rows=(
            ("mnasnet0_5", 256, 2_218_512, 104_455_968, 67.734, 0.104, "3ffadce67e"),
            ("mnasnet0_75", 232, 3_170_208, 215_493_104, 71.18, 0.215, "7090bc5f"),
            ("mnasnet1_0", 256, 4_383_312, 314_415_872, 73.456, 0.314, "f206786ef8"),
            ("mnasnet1_3", 232, 6_282_256, 526_362_432, 76.506, 0.526, "a4c69d6f"),
        ),
    ),
    HeadFamily(
        head="classifier.3.weight",
        rows=(
            ("mobilenet_v3_small", 256, 2_542_856, 56_510_400, 67.668, 0.057, "047dcff4"),
            ("mobilenet_v3_large", 256, 5_483_032, 216_589_760, 74.042, 0.217, "8738ca79"),
        ),
    ),
    HeadFamily(
        head="fc.weight",
        rows=(
            ("regnet_x_400mf", 256, 5_495_976, 413_812_608, 72.834, 0.414, "adf1edd5"),
            ("regnet_x_800mf", 256, 7_259_656, 799_699_712, 75.212, 0.8, "ad17e45c"),
            ("regnet_x_1_6gf", 256, 9_190_136, 1_602_849_792, 77.04, 1.603, "e3633e7f"),
            ("regnet_x_3_2gf", 256, 15_296_552, 3_176_621_952, 78.364, 3.177, "f342aeae"),
            ("regnet_x_8gf", 256, 39_572_648, 7_995_132_416, 79.344, 7.995, "03ceed89"),
            ("regnet_x_16gf", 256, 54_278_536, 15_940_755_456, 80.058, 15.941, "2007eb11"),
            ("regnet_y_400mf", 256, 4_344_144, 401_842_848, 74.046, 0.402, "c65dace8"),
            ("regnet_y_800mf", 256, 6_432_512, 833_856_256, 76.42, 0.834, "1b27b58c"),
            ("regnet_y_1_6gf", 256, 11_202_430, 1_612_076_160, 77.95, 1.612, "b11a554e"),
            ("regnet_y_3_2gf", 256, 19_436_338, 3_176_482_752, 78.948, 3.176, "b5a9779c"),
            ("regnet_y_8gf", 256, 39_381_472, 8_473_070_592, 80.032, 8.473, "d0d0e4a8"),
        ),
    ),
    HeadFamily(
        head="fc.weight",
        rows=(("resnext50_32x4d", 256, 25_028_904, 4_230_479_872, 77.618, 4.23, "7cdf4587"),),
    ),
    HeadFamily(
        head="fc.weight",
        rows=(
            ("resnet18", 256, 11_689_512, 1_814_073_344, 69.758, 1.814, "f37072fd"),
            ("resnet34", 256, 21_797_672, 3_663_761_408, 73.314, 3.664, "b627a593"),
            ("resnet50", 256, 25_557_032, 4_089_184_256, 76.13, 4.089, "0676ba61"),
            ("resnet101", 256, 44_549_160, 7_801_405_440, 77.374, 7.801, "63fe2227"),
        ),
    ),
    HeadFamily(
        head="fc.weight",
        rows=(
            ("shufflenet_v2_x0_5", 256, 1_366_792, 40_476_448, 60.552, 0.04, "f707e7126e"),
            ("shufflenet_v2_x1_0", 256, 2_278_604, 144_907_992, 69.362, 0.145, "5666bf0f80"),
            ("shufflenet_v2_x1_5", 232, 3_503_624, 295_759_392, 72.996, 0.296, "3c479a10"),
            ("shufflenet_v2_x2_0", 232, 7_393_996, 583_253_464, 76.23, 0.583, "8be3c8ee"),
        ),
    ),
    HeadFamily(
        head="classifier.1.weight",
        rows=(
            ("squeezenet1_0", 256, 1_248_424, 818_924_576, 58.092, 0.819, "b66bff10"),
            ("squeezenet1_1", 256, 1_235_496, 349_151_936, 58.178, 0.349, "b8a52dc0"),
        ),
    ),
    HeadFamily(
        head="head.weight",
        interpolation="bicubic",
        rows=(
            ("swin_t", 232, 28_288_354, 4_490_566_656, 81.474, 4.491, "704ceda3"),
            ("swin_s", 246, 49_606_258, 8_740_875_264, 83.196, 8.741, "5e29d889"),
        ),
    ),
    HeadFamily(
        head="head.weight",
        crop=256,
        interpolation="bicubic",
        rows=(
            ("swin_v2_t", 260, 28_351_570, 5_939_690_496, 82.072, 5.94, "b137f0e2"),
            ("swin_v2_s", 260, 49_737_442, 11_545_857_024, 83.712, 11.546, "637d8ceb"),
        ),
    ),
)

# Stems of the files that are not called after their model.
STEMS = {
    "inception_v3": "inception_v3_google",
    "mnasnet0_5": "mnasnet0.5_top1_67.823",
    "mnasnet1_0": "mnasnet1.0_top1_73.512",
    "shufflenet_v2_x0_5": "shufflenetv2_x0.5",
    "shufflenet_v2_x1_0": "shufflenetv2_x1",
    "shufflenet_v2_x1_5": "shufflenetv2_x1_5",
    "shufflenet_v2_x2_0": "shufflenetv2_x2_0",
}

# What else torchvision has, resolved by torchvision itself when it is asked for.
# fmt: off
OTHERS = (
    "alexnet", "convnext_base", "convnext_large", "efficientnet_b0", "efficientnet_b1",
    "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "efficientnet_b6",
    "efficientnet_b7", "efficientnet_v2_l", "efficientnet_v2_m", "efficientnet_v2_s", "maxvit_t",
    "mobilenet_v2", "regnet_x_32gf", "regnet_y_128gf", "regnet_y_16gf", "regnet_y_32gf",
    "resnet152", "resnext101_32x8d", "resnext101_64x4d", "swin_b", "swin_v2_b", "vgg11",
    "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16",
    "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32", "wide_resnet101_2", "wide_resnet50_2",
)
# fmt: on

# torch.hub's rule: the hexadecimal digits between the last dash and the suffix.
_HASH = re.compile(r"-([0-9a-f]{8,})\.pth$")


def published(top1: float, url: str, gmacs: float | None) -> Published:
    """Weights at `url`, `top1` in % and `gmacs` in 10⁹ multiply-adds as torchvision states them."""
    found = _HASH.search(url)
    macs = None if gmacs is None else round(gmacs * 1e9)
    return Published(round(top1 / 100, 5), url, found[1] if found else "", macs, SOURCE)


def _spec(family: HeadFamily, row: Row) -> ModelSpec:
    name, resize, parameters, macs, top1, gmacs, prefix = row
    url = f"{STORE}{STEMS.get(name, name)}-{prefix}.pth"
    return ModelSpec(
        name=name,
        dataset="imagenet",
        family="torchvision_imagenet",
        options={"architecture": name},
        classes=1000,
        preprocessing=Preprocessing(
            MEAN, STD, resize, (family.crop, family.crop), family.interpolation
        ),
        parameters=parameters,
        macs=macs,
        head=family.head,
        published=published(top1, url, gmacs),
    )


SPECS = tuple(_spec(family, row) for family in FAMILIES for row in family.rows)
NAMES = frozenset(spec.name for spec in SPECS) | frozenset(OTHERS)
