"""Columns of a table that stand for classes: which are none, and in what order the others are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from cache import InputError

ORDER = "sample_id"  # the column that numbers the rows
LABELS = ("label", "labels")  # columns and arrays that hold labels, by their name
# Numbers that are no logits, by what their column is called; "" heads the index of pandas.
_NO_CLASS = frozenset(
    ("", "unnamed: 0", "__index_level_0__", "id", "idx", "index", "image_id", "row", "sample")
) | {"target", "targets", "prediction", "predictions", ORDER, *LABELS}
_NUMBERED = re.compile(r"(.*?)(\d+)[\])]?")


def check_names(path: str, names: Sequence[str], classes: Collection[str]) -> None:
    """InputError for a name that is no class's, or stands there twice.

    `classes` are the classes' names, where they are known.
    """
    for name, times in Counter(names).items():
        if times > 1 and name:
            raise InputError(f"{path}: column {name!r} is there twice: keep one")
        if name.casefold() in _NO_CLASS and name not in classes:
            raise InputError(
                f"{path}: column {name!r} is headed as a row index or labels are: leave it out, "
                f"call it {ORDER} where it is 0, 1, 2 …, give --class-names where it is a class, "
                "or name the others with --logits-column"
            )


def class_order(path: str, names: Sequence[str], classes: Collection[str]) -> list[int]:
    """The places of columns headed class_0, class_10, class_1 … in the order of their numbers.

    Others stay as they stand, as do those headed by the classes' names, whose order is told by
    these. InputError where some have numbers and some have none, or a number is missing.
    """
    as_they_stand = list(range(len(names)))
    matches = [_NUMBERED.fullmatch(name) for name in names]
    prefixes = Counter(match[1] for match in matches if match)
    prefix, times = max(prefixes.items(), key=lambda item: item[1], default=("", 0))
    numbers = {k: int(match[2]) for k, match in enumerate(matches) if match and match[1] == prefix}
    few = times < max(2, len(names) / 2)
    if few or set(names) == set(classes) or min(numbers.values()) > len(names):
        return as_they_stand  # words, such as ImageNet's n01440764
    _check_numbers(path, names, prefix, numbers)
    return sorted(as_they_stand, key=numbers.__getitem__)


def _check_numbers(
    path: str, names: Sequence[str], prefix: str, numbers: Mapping[int, int]
) -> None:
    said = f"{path}: columns are headed {', '.join(names[k] for k in list(numbers)[:3])} …"
    other = next((name for k, name in enumerate(names) if k not in numbers), None)
    if other is not None:
        raise InputError(
            f"{said} but one is {other!r}: leave it out, name the others with --logits-column, or "
            "give --class-names where all of them are names"
        )
    times = Counter(numbers.values())
    first = 0 if 0 in times else 1
    for number in range(first, first + len(names)):
        if times[number] != 1:
            found = "there twice" if times[number] else "missing"
            raise InputError(
                f"{said} and {prefix}{number} is {found}: save one column for each class, or give "
                "--class-names where these are names"
            )
