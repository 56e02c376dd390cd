"""What is known about the named datasets before any image is looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAME = re.compile(r"[^\W_][\w .+@=,()-]*")  # of a dataset or a split


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


def _named(name: str, fields: dict[str, object]) -> DatasetSpec:
    plain = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
    }
    return DatasetSpec(name=name, **plain)  # type: ignore[arg-type]


# By name, in the order in which they are listed. JSON: to read TOML takes 10 ms of every start.
_TABLES = json.loads(Path(__file__).with_name("named.json").read_text("utf-8"))
SPECS = {name: _named(name, fields) for name, fields in _TABLES.items()}
