"""Many models at once: a wide or a long table, an npz with an array for each, or a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from cache import InputError, Store, one_of
from stages.ingest.class_columns import LABELS
from stages.ingest.kinds import TOLD_BY
from stages.ingest.request import ImportRequest, named
from stages.ingest.samples import OPENERS, Contents, open_contents
from stages.ingest.stage import ImportedModel, PassedImport, check
from stages.ingest.tables import Table

Note = Callable[[str], None]


@dataclass(frozen=True)
class One:
    """A model to be imported; where it lies with others, `contents` opens its part."""

    request: ImportRequest
    contents: Callable[[], Contents]


def import_many(
    store: Store,
    request: ImportRequest,
    split: str | None,
    note: Note = lambda line: None,
    dry_run: bool = False,
    macs: Mapping[str, int] | None = None,
) -> list[ImportedModel]:
    """Import every model of `request.file`, once all of them have passed, or the one that the
    request names; with `dry_run` none. A split is a subfolder's or a column's name, else `split`;
    `macs` are multiply-adds by model.

    A wide table has columns MODEL.class_1, MODEL.p_1 … or MODEL.0, MODEL.1 …, and label; a long one
    the same without MODEL., and model, sample_id, label; an npz arrays called as the models, and
    label; a folder [SPLIT/]MODEL.npy …, and labels.npy beside them, else a label column in each.
    InputError, and nothing imported, where any of them is none.

    In memory are the rows of one model at a time; beside them a csv, or a long table, as a whole.
    """
    return import_each(store, request, list(_models(request, split)), note, dry_run, macs)


def import_each(
    store: Store,
    request: ImportRequest,
    found: Sequence[One],
    note: Note = lambda line: None,
    dry_run: bool = False,
    macs: Mapping[str, int] | None = None,
) -> list[ImportedModel]:
    """The same of models that are found already."""
    _check_names(request.file, [each.request for each in found])
    note, ready = lru_cache(None)(note), list[PassedImport]()  # a line is said once
    models = {each.request.model for each in found}
    if len(models) > 1 and request.macs is not None:
        raise InputError(
            f"--macs is of one model, and {len(models)} are here: give --costs FILE with columns "
            "model and macs"
        )
    for name in (each for each in macs or () if each not in models):
        note(f"warning: {request.file} holds no {name}, whose multiply-adds are told")
    try:
        for checked in _checked(store, found, note, macs or {}):
            ready.append(checked if len(found) == 1 else checked.without_data())
            if not dry_run and len(found) > 1:
                checked.stage(store)
            del checked  # its rows, before those of the next are read
        if not request.kind:
            kind = ready[0].row.kind
            note(f"{request.file}: taken for {kind.replace('_', '-')} ({TOLD_BY[kind]})")
        for each in () if dry_run else ready:
            each.publish(store)
    except BaseException:
        for each in () if dry_run or len(found) == 1 else ready:
            with suppress(InputError):  # what went wrong before is what is told
                each.discard(store)
        raise
    return [each.row for each in ready]


def _checked(
    store: Store, found: Sequence[One], note: Note, macs: Mapping[str, int]
) -> Iterator[PassedImport]:
    """Each held against those before it."""
    passed: dict[str, PassedImport] = {}
    for each in found:
        told = macs.get(each.request.model, each.request.macs)
        asked = replace(each.request, macs=told)
        if passed:
            asked = replace(asked, labels_from=next(iter(passed.values())).request.labels_from)
        checked = check(store, asked, note, each.contents)
        _check_alike(passed, checked.without_data())
        yield replace(checked, labels=passed[asked.split].labels)  # which are kept once
        del checked


def _check_names(file: str, found: Sequence[ImportRequest]) -> None:
    """InputError for a model that is there twice."""
    for (split, model), times in Counter((each.split, each.model) for each in found).items():
        if times > 1:
            raise InputError(f"{file}: {model} is there {times} times on {split}: keep one")


def _check_alike(passed: dict[str, PassedImport], told: PassedImport) -> None:
    """InputError where models are of two kinds, or those of one split have other labels, images or
    classes; `passed` are the first of each split."""
    request, kind = told.request, next(iter(passed.values()), told).request.kind
    if request.kind != kind:
        raise InputError(
            f"{request.file}: {request.model} is taken for {request.kind} where others are {kind}: "
            "import one kind at a time"
        )
    first = passed.setdefault(request.split, told)
    name, there, here = first.request.model, first.labels.values, told.labels.values
    if len(there) != len(here):
        raise InputError(
            f"{request.file}: {name} has {len(there)} rows of {request.split}, {request.model} "
            f"{len(here)}: give every model every image"
        )
    if (there != here).any():
        row = int((there != here).argmax())
        raise InputError(
            f"{request.file}: row {row} of {request.split} has label {there[row]} by {name} and "
            f"{here[row]} by {request.model}: put the rows in one order"
        )
    if None not in (first.classes, told.classes) and first.classes != told.classes:
        raise InputError(
            f"{request.file}: {name} has {first.classes} classes, {request.model} "
            f"{told.classes}: import them under two names of data sets"
        )


def _models(request: ImportRequest, split: str | None) -> Iterator[One]:
    if not request.model and Path(request.file).is_dir():
        yield from _of_folder(request, split)
        return
    contents = open_contents(request.file)
    if isinstance(contents, Table) and contents.is_long():
        yield from _of_long(request, contents, split)
        return
    if isinstance(contents, Table) and contents.find("split") is not None:
        from stages.ingest.long_table import by_split  # polars is slow to start

        for place, part in by_split(contents, split):
            yield from _of_wide(replace(request, split=place), part)
        return
    yield from _of_wide(replace(request, split=named(split)), contents)


def _of_wide(request: ImportRequest, contents: Contents) -> Iterator[One]:
    if request.model:
        yield One(request, partial(replace, contents))
        return
    names = contents.models()
    if not names:
        raise InputError(
            f"{request.file} holds one model: name it with --model, or head its columns MODEL.…"
        )
    for name in names:
        yield One(replace(request, model=name), partial(contents.of_model, name))


def _of_long(request: ImportRequest, table: Table, split: str | None) -> Iterator[One]:
    from stages.ingest.long_table import by_model  # polars is slow to start

    found = list(by_model(table, split))
    asked = [each for each in found if request.model in ("", each[1])]
    if not asked:
        raise one_of("model", request.model, sorted({name for _, name, _ in found}))
    for place, name, part in asked:
        yield One(replace(request, split=place, model=name), partial(replace, part))


def _of_folder(request: ImportRequest, split: str | None) -> Iterator[One]:
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
            name = named(split) if folder == root else folder.name
            one = replace(request, split=name, model=path.stem, file=str(path), labels=labels)
            yield One(one, partial(open_contents, one.file))
    if not count:
        raise InputError(f"{root} holds no models: put MODEL.npy … there, or SPLIT/MODEL.npy …")
