"""What is known about the named datasets before any image is looked at."""

from __future__ import annotations

from dataclasses import dataclass

CIFAR10_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset that has a name of its own.

    classes: K. class_names: K names in the order of the labels.
    splits: those of the published dataset; a data folder may hold others.
    default_split: the one results are reported on. fit_split: the one thresholds are fitted on, or
    None where the published dataset has no split to spare for that.
    mean, std: per channel of pictures scaled to [0, 1], as the dataset's models normalise them.
    size: (height, width) in pixels. download: whether `--download` can fetch it.
    module: where `open_split(split)` is, for a dataset that needs no images from the user.
    """

    name: str
    classes: int
    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    default_split: str
    fit_split: str | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    download: bool = False
    note: str = ""
    module: str | None = None


SPECS = {
    row.name: row
    for row in (
        DatasetSpec(
            name="digits",
            classes=10,
            class_names=tuple("0123456789"),
            splits=("train", "val", "test"),
            default_split="test",
            fit_split="val",
            mean=(0.3062,),
            std=(0.3765,),
            size=(8, 8),
            note="1,797 handwritten digits that ship with scikit-learn; needs no --data",
            module="stages.datasets.digits",
        ),
        DatasetSpec(
            name="cifar10",
            classes=10,
            class_names=CIFAR10_NAMES,
            splits=("train", "test"),
            default_split="test",
            fit_split=None,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2023, 0.1994, 0.2010),
            size=(32, 32),
            download=True,
            note="the published models saw all 50,000 images of train",
        ),
    )
}


def spec(name: str) -> DatasetSpec | None:
    """The named dataset, or None: images in a known layout need no entry here."""
    return SPECS.get(name)
