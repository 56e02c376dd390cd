"""What is known about the named datasets before any image is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

NAME = re.compile(r"[^\W_][\w .+@=,()-]*")  # of a dataset or a split

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
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset that has a name of its own.

    classes: K. class_names: K names in the order of the labels. class_folders: K names of the
    folders that hold each class, where they are not the class names. class_file: a text file in
    this package from which `spec` fills both, a class per line: FOLDER tab NAME, or only NAME.
    splits: those of the published dataset; a data folder may hold others.
    aliases: other names that files and users give to a split, and the split that each means.
    default_split: the one results are reported on.
    mean, std: per channel of pictures scaled to [0, 1], as the dataset's models normalise them.
    size: (height, width) in pixels that its models expect. download: whether `--download` can
    fetch it.
    module: where `open_split(split)` is, for a dataset that needs no images from the user.
    """

    name: str
    classes: int
    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    default_split: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    download: bool = False
    note: str = ""
    module: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    class_folders: tuple[str, ...] = ()
    class_file: str | None = None

    def fault(self) -> str | None:
        """What of a package's row cannot be, in a few words."""
        channels = (len(self.mean), len(self.std))
        wrong = {
            f"has the name {self.name!r:.40}": not NAME.fullmatch(self.name),
            f"has {len(self.class_names)} class_names for {self.classes} classes": (
                self.classes < 1 or len(self.class_names) != self.classes
            ),
            f"has {len(self.class_folders)} class_folders for {self.classes} classes": (
                len(self.class_folders) not in (0, self.classes)
            ),
            "has a class_file, which is for built-in ones": self.class_file is not None,
            f"has the default_split {self.default_split!r:.40}, none of its splits": (
                self.default_split not in self.splits
            ),
            f"has {channels[0]} means and {channels[1]} std": (
                channels not in ((1, 1), (3, 3)) or min(self.std) <= 0
            ),
            f"has the size {self.size}": min(self.size) < 1,
        }
        return next((f"its dataset {self.name!r:.40} {w}" for w, is_ in wrong.items() if is_), None)


SPECS = {
    row.name: row
    for row in (
        DatasetSpec(
            name="digits",
            classes=10,
            class_names=tuple("0123456789"),
            splits=("train", "val", "test"),
            default_split="test",
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
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2023, 0.1994, 0.2010),
            size=(32, 32),
            download=True,
            note="the published models saw all 50,000 images of train",
        ),
        DatasetSpec(
            name="cifar100",
            classes=100,
            class_names=(),
            class_file="cifar100_classes.txt",
            splits=("train", "test"),
            default_split="test",
            mean=(0.5070, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2761),
            size=(32, 32),
            download=True,
            note="the 100 fine labels",
        ),
        DatasetSpec(
            name="fashionmnist",
            classes=10,
            class_names=FASHION_NAMES,
            splits=("train", "test"),
            default_split="test",
            mean=(0.2856, 0.2856, 0.2856),
            std=(0.3385, 0.3385, 0.3385),
            size=(32, 32),
            download=True,
            note="28×28 grey, repeated in three channels for its models",
        ),
        DatasetSpec(
            name="intel",
            classes=6,
            class_names=("buildings", "forest", "glacier", "mountain", "sea", "street"),
            splits=("train", "test"),
            default_split="test",
            mean=(0.4302, 0.4575, 0.4539),
            std=(0.2386, 0.2377, 0.2733),
            size=(32, 32),
            note="150×150 scenes; seg_train is called train, seg_test test",
            aliases={"seg_train": "train", "seg_test": "test"},
        ),
        DatasetSpec(
            name="imagenet",
            classes=1000,
            class_names=(),
            class_file="imagenet_classes.txt",
            splits=("train", "val"),
            default_split="val",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            size=(224, 224),
            note="ILSVRC 2012; validation is called val; each model resizes and crops its own way",
            aliases={"validation": "val"},
        ),
    )
}
