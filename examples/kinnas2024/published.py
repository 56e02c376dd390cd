"""What the paper and its code state, each fact with its source, and nothing that nobody published.

Kinnas, Violos, Kompatsiaris, Papadopoulos: Reducing inference energy consumption using dual
complementary CNNs. Future Generation Computer Systems, 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

NAME = "kinnas2024"
TITLE = "Reducing inference energy consumption using dual complementary CNNs"
DOI = "doi:10.1016/j.future.2024.107606"
ARXIV = "arXiv:2412.01039"
REFERENCE = f"{DOI}, {ARXIV}"
REPOSITORY = (
    "https://github.com/michaelkinnas/"
    "Reducing-Inference-Energy-Consumption-Using-Two-Complementary-CNNs"
)


@dataclass(frozen=True)
class Claim:
    """A figure or formula in words; `value` is the figure, None for a formula."""

    text: str
    source: str
    value: float | None = None


@dataclass(frozen=True)
class Setting:
    """A cascade with its λ. `classes` is K where the entropy may have been compared in nats rather
    than as a share of ln K, `on_train` tells that λ was searched on the training split; `note` says
    what differs from ours, or is not known.
    """

    dataset: str
    split: str
    model_1: str
    model_2: str
    score: str
    threshold: float
    postcheck: bool
    source: str
    note: str
    on_train: bool = False
    classes: int | None = None

    def __str__(self) -> str:
        return f"{self.model_1} → {self.model_2} on {self.dataset}"


def _file(path: str, commit: str) -> str:
    return f"{REPOSITORY}/blob/{commit}/{path}"


_FIRST = "074f5af6cb33c68ea537ecca707b2a88b07881e3"
_SECOND = "204191cf3327035db618921d52a49c2a98e227d4"
_README = _file("README.md", "ec1927c377e3b29d88d4167ac27fba73deb0cc4e")

REDUCTION = Claim(
    "energy reduction of up to 85.8 % on a Jetson Nano, on modified datasets where each sample was "
    "duplicated once",
    f"{ARXIV}, abstract",
    0.858,
)
GRID = 2000  # values of λ that its search tries in [0, 1]
CLAIMS = (
    REDUCTION,
    Claim("λ* = argmax of the accuracy over 0 < λ < 1", ARXIV),
    Claim("complementarity(A, B) = (n(A∪B) − n(A∩B) − |n(A) − n(B)|)/N", ARXIV),
    Claim(
        f"threshold.py tries {GRID:,} values of λ unless told otherwise, and reports λ's accuracy "
        "on the images that it was found on",
        _file("threshold.py", "1cd067c0651b56b11d253c2d54c7e647e0f989da"),
        GRID,
    ),
    Claim(
        "the README's example of threshold.py searches λ on the training split (-t), an option "
        "for CIFAR-10 alone",
        _README,
    ),
)

SETTINGS = (
    Setting(
        *("cifar10", "test", "resnet20", "mobilenetv2_x0_5", "difference", 0.8724, True),
        source=_README,
        note="the README's example of main.py; its accuracy and energy are not stated there",
        on_train=True,
    ),
    Setting(
        *("imagenet", "val", "mnasnet1_3", "densenet121", "entropy", 0.7798, True),
        source=_file("config.yml", _FIRST),
        note="theirs were 10,000 validation images, resized beforehand; the code of that commit "
        "compares the entropy in nats (utils/score_fns.py); threshold.py, which finds λ, divides "
        "it by the uniform distribution's",
        classes=1000,
    ),
    Setting(
        *("fashionmnist", "test", "repvgg_a2", "resnet44", "difference", 0.2166, True),
        source=_file("config.yml", _SECOND),
        note="the second model is disabled in that file; weights trained on these images are "
        "needed, and nobody states their accuracy",
    ),
)

# Energy of whole runs in mAh, by what ran; each has one value per share of duplicates.
ENERGY_DATASET = "cifar10"
DUPLICATES = (0.0, 0.5, 1.0)
ENERGY_MAH = {
    "big": (225, 302, 396),
    "biglittle": (139, 208, 279),
    "nomemory": (52, 80, 100),
    "dhash": (53, 56, 57),
    "invariants": (68, 75, 85),
}
SINGLE = "big"  # one large CNN, which all others are relative to
PLAIN = "nomemory"  # a cascade without a memory
MEMORIES = ("dhash", "invariants")  # cascades with one, by its hash
REDUCED_AT = 1.0  # the share of duplicates that REDUCTION is claimed at
ENERGY_SOURCE = _file("utils/plotter.py", _SECOND) + ", comments of plot_memory_lines"
ENERGY_NOTES = (
    "which large CNN and which pair were measured is not said there, nor with which λ: ours are "
    "this pair at its published λ and the most accurate single model of known cost",
    "theirs are mAh that a whole Jetson Nano drew in a run, idle power and the preparation of "
    "images included; ours are the CNNs' own cost, and the hash's where it is known",
    "their images and copies come shuffled, as ours; whether copies were turned is not said there, "
    "ours are not",
    "only ratios at the same share of duplicates can be held against each other, and only as an "
    "order of magnitude",
)
