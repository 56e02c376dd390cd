"""Many models at once: a wide table, an npz with an array for each, or a folder of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cache import InputError, Store
from stages.ingest.class_columns import LABELS
from stages.ingest.request import ImportRequest
from stages.ingest.samples import OPENERS, Contents, open_contents
from stages.ingest.stage import PassedImport, check
from stages.scores import ScoredModel

Note = Callable[[str], None]


@dataclass(frozen=True)
class _One:
    """A model to be imported; where it lies with others, `contents` opens its part."""

    request: ImportRequest
    contents: Callable[[], Contents]


def import_many(
    store: Store,
    request: ImportRequest,
    split: str | None,
    note: Note = lambda line: None,
    dry_run: bool = False,
) -> list[ScoredModel]:
    """Import every model of `request.file`, one in memory at a time, once all of them have passed,
    or the one that the request names; with `dry_run` none. A split is a subfolder's name, else
    `split`.

    A wide table has columns MODEL.class_1, MODEL.p_1 … or MODEL.0, MODEL.1 …, and label; an npz
    arrays called as the models, and label; a folder [SPLIT/]MODEL.npy …, and labels.npy beside
    them, else a label column in each. InputError, and nothing imported, where any of them is none.
    """
    found = list(_models(request, split))
    passed: dict[str, PassedImport] = {}
    all_passed = []
    for each in found:
        checked = check(store, each.request, note, each.contents)
        all_passed.append(checked.without_data() if len(found) > 1 else checked)
        _same_images(passed.setdefault(each.request.split, all_passed[-1]), checked)
    for checked in () if dry_run else all_passed:
        checked.write(store)
    return [checked.row for checked in all_passed]


def _same_images(first: PassedImport, told: PassedImport) -> None:
    """InputError where models of one split are told with other labels, or of other classes."""
    request, name = told.request, first.request.model
    if first.labels.fingerprint != told.labels.fingerprint:
        raise InputError(
            f"{request.file}: {name} and {request.model} have other labels on {request.split}: "
            "put the rows in one order"
        )
    if None not in (first.classes, told.classes) and first.classes != told.classes:
        raise InputError(
            f"{request.file}: {name} has {first.classes} classes, {request.model} "
            f"{told.classes}: import them under two names of data sets"
        )


def _models(request: ImportRequest, split: str | None) -> Iterator[_One]:
    if not request.model and Path(request.file).is_dir():
        yield from _of_folder(request, split)
        return
    whole = replace(request, split=_needed(split))
    if whole.model:
        yield _One(whole, partial(open_contents, whole.file))
        return
    contents = open_contents(whole.file)
    names = contents.models()
    if not names:
        raise InputError(
            f"{whole.file} holds one model: name it with --model, or head its columns MODEL.…"
        )
    for name in names:
        yield _One(replace(whole, model=name), partial(contents.of_model, name))


def _of_folder(request: ImportRequest, split: str | None) -> Iterator[_One]:
    root = Path(request.file)
    shown = [path for path in root.iterdir() if not path.name.startswith(".")]
    folders = sorted(path for path in shown if path.is_dir())
    if folders and split is not None:
        folders = [path for path in folders if path.name == split]
    count = 0
    for folder in folders or [root]:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in OPENERS)
        labels = next((str(path) for path in files if path.stem in LABELS), request.labels)
        for path in (each for each in files if each.stem not in LABELS):
            count += 1
            name = _needed(split) if folder == root else folder.name
            one = replace(request, split=name, model=path.stem, file=str(path), labels=labels)
            yield _One(one, partial(open_contents, one.file))
    if not count:
        raise InputError(f"{root} holds no models: put MODEL.npy … there, or SPLIT/MODEL.npy …")


def _needed(split: str | None) -> str:
    if split is None:
        raise InputError("give --split: the split that the images are of")
    return split
