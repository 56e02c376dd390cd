"""Columns of a table that stand for classes: which are none, and in what order the others are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from cache import InputError

ORDER = "sample_id"  # the column that numbers the rows
TOP_K = ("classes", "probabilities")  # arrays and lists of the most probable ones
LABELS = ("label", "labels")  # columns and arrays that hold labels, by their name
# Numbers that are no logits, by what their column is called, without blanks and signs between
# words; "" heads the index of pandas.
_NO_CLASS = frozenset(
    ("", "unnamed:0", "indexlevel0", "id", "idx", "index", "imageid", "row", "sample", "sampleid")
) | {"target", "targets", "prediction", "predictions", "pred", "ypred", *LABELS}
_NO_CLASS |= {"ytrue", "truelabel", "targetclass", "groundtruth", "gt", "filenameid"}
_DIGITS = re.compile("[0-9]{1,18}")


def check_names(path: str, names: Sequence[str], classes: Collection[str]) -> None:
    """InputError for a name that is no class's, or stands there twice.

    `classes` are the classes' names, where they are known.
    """
    for name, times in Counter(names).items():
        if times > 1 and name:
            raise InputError(f"{path}: column {name!r} is there twice: keep one")
        if re.sub(r"[\s_.-]", "", name.casefold()) in _NO_CLASS and name not in classes:
            raise InputError(
                f"{path}: column {name!r} is headed as a row index or labels are: leave it out, "
                f"call it {ORDER} where it is 0, 1, 2 …, name it with --label-column where it is "
                "the labels, give --class-names where it is a class, or name the others with "
                "--logits-column"
            )


def class_order(path: str, names: Sequence[str], classes: Collection[str]) -> list[int]:
    """The places of columns headed class_0, class_10, class_1 … in the order of their numbers.

    The number may stand anywhere: 0_p, 10_p … are such too. Others stay as they stand, as do those
    headed by the classes' names, whose order is told by these. InputError where some have numbers
    and some have none, more than one number differs, or a number is missing.
    """
    as_they_stand = list(range(len(names)))
    if set(names) == set(classes):
        return as_they_stand
    numbers = _only_numbers(names)
    if sorted(numbers.values()) not in _counts(len(names)):
        shape, times = Counter(map(_shape, names)).most_common(1)[0] if names else ("", 0)
        if times < max(2, len(names) / 2) or "#" not in shape:
            return as_they_stand  # words
        alike = {k: name for k, name in enumerate(names) if _shape(name) == shape}
        numbers = _differing(path, alike)
        if not numbers or min(numbers.values()) > len(names):
            return as_they_stand  # words, such as ImageNet's n01440764
        _check_numbers(path, names, numbers)
    return sorted(as_they_stand, key=numbers.__getitem__)


def _shape(name: str) -> str:
    return _DIGITS.sub("#", name)


def _counts(n: int) -> list[list[int]]:
    return [[*range(n)], [*range(1, n + 1)]]


def _only_numbers(names: Sequence[str]) -> dict[int, int]:
    """The number in each name that holds one, whatever is around it."""
    found = enumerate(map(_DIGITS.findall, names))
    return {k: int(digits[0]) for k, digits in found if len(digits) == 1}


def _differing(path: str, alike: Mapping[int, str]) -> dict[int, int]:
    """Of names that differ in their numbers only, the number that is not the same in all."""
    rows = [[int(digits) for digits in _DIGITS.findall(name)] for name in alike.values()]
    differing = [column for column in zip(*rows, strict=True) if len(set(column)) > 1]
    if len(differing) > 1:
        raise InputError(
            f"{path}: columns are headed {', '.join([*alike.values()][:3])} …, in which more than "
            "one number differs: head each with that of its class only, or give --class-names"
        )
    return dict(zip(alike, differing[0], strict=True)) if differing else {}


def _check_numbers(path: str, names: Sequence[str], numbers: Mapping[int, int]) -> None:
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
                f"{said} and {_numbered(names[0], numbers[0], number)} is {found}: save one column "
                "for each class, or give --class-names where these are names"
            )


def _numbered(name: str, old: int, new: int) -> str:
    """A name with another number in the place of its last `old`."""
    places = [match for match in _DIGITS.finditer(name) if int(match[0]) == old]
    return f"{name[: places[-1].start()]}{new}{name[places[-1].end() :]}"
