"""Kinnas, Violos, Kompatsiaris, Papadopoulos: Reducing inference energy consumption using dual
complementary CNNs. Future Generation Computer Systems, 2024.
"""

from __future__ import annotations

from stages.reproduce.facts import Claim, Energy, Paper, Setting

DOI = "doi:10.1016/j.future.2024.107606"
ARXIV = "arXiv:2412.01039"
REPOSITORY = (
    "https://github.com/michaelkinnas/"
    "Reducing-Inference-Energy-Consumption-Using-Two-Complementary-CNNs"
)


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

CLAIMS = (
    REDUCTION,
    Claim("λ* = argmax of the accuracy over 0 < λ < 1", ARXIV),
    Claim("complementarity(A, B) = (n(A∪B) − n(A∩B) − |n(A) − n(B)|)/N", ARXIV),
    Claim(
        "threshold.py tries 2,000 values of λ unless told otherwise, and reports λ's accuracy on "
        "the images that it was found on",
        _file("threshold.py", "1cd067c0651b56b11d253c2d54c7e647e0f989da"),
        2000,
    ),
    Claim(
        "the README's example of threshold.py searches λ on the training split (-t), an option "
        "for CIFAR-10 alone",
        _README,
    ),
)

SETTINGS = (
    Setting(
        dataset="cifar10",
        model_1="resnet20",
        model_2="mobilenetv2_x0_5",
        score="difference",
        threshold=0.8724,
        postcheck=True,
        source=_README,
        note="the README's example of main.py; its accuracy and energy are not stated there",
        on_train=True,
    ),
    Setting(
        dataset="imagenet",
        model_1="mnasnet1_3",
        model_2="densenet121",
        score="entropy",
        threshold=0.7798,
        postcheck=True,
        source=_file("config.yml", _FIRST),
        note="theirs were 10,000 validation images, resized beforehand; the code of that commit "
        "compares the entropy in nats (utils/score_fns.py); threshold.py, which finds λ, divides "
        "it by the uniform distribution's",
        in_nats=True,
    ),
    Setting(
        dataset="fashionmnist",
        model_1="repvgg_a2",
        model_2="resnet44",
        score="difference",
        threshold=0.2166,
        postcheck=True,
        source=_file("config.yml", _SECOND),
        note="the second model is disabled in that file; weights trained on these images are "
        "needed, and nobody states their accuracy",
    ),
)

ENERGY = Energy(
    dataset="cifar10",
    unit="mAh",
    duplicates=(0.0, 0.5, 1.0),
    values={
        "big": (225, 302, 396),
        "biglittle": (139, 208, 279),
        "nomemory": (52, 80, 100),
        "dhash": (53, 56, 57),
        "invariants": (68, 75, 85),
    },
    single="big",
    plain="nomemory",
    memories=("dhash", "invariants"),
    reduction=REDUCTION,
    reduced_at=1.0,
    source=_file("utils/plotter.py", _SECOND) + ", comments of plot_memory_lines",
    notes=(
        "which large CNN and which pair were measured is not said there, nor with which λ: ours "
        "are this pair at its published λ and the most accurate single model of known cost",
        "theirs are mAh that a whole Jetson Nano drew in a run, idle power and the preparation of "
        "images included; ours are the CNNs' own cost, and the hash's where it is known",
        "their images and copies come shuffled, as ours; whether copies were turned is not said "
        "there, ours are not",
        "only ratios at the same share of duplicates can be held against each other, and only as "
        "an order of magnitude",
    ),
)

PAPER = Paper(
    name="kinnas2024",
    title="Reducing inference energy consumption using dual complementary CNNs",
    reference=f"{DOI}, {ARXIV}",
    grid=2000,
    claims=CLAIMS,
    settings=SETTINGS,
    energy=ENERGY,
)
