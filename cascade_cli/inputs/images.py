"""The images of a dataset's splits."""

from __future__ import annotations

from collections.abc import Sequence

from cache import Store
from cascade_cli.inputs.words import names_in
from cascade_cli.options.images import ImageOptions
from cascade_cli.show.text import say
from stages.datasets import Source, open_split, readable, split_name, splits
from stages.runtimes import checked


def named_splits(dataset: str, text: str | None) -> list[str] | None:
    """Splits separated by commas, each once, as the cache calls them; None where none are given."""
    given = names_in(text)
    return given and list(dict.fromkeys(split_name(dataset, split) for split in given))


def variants_of(images: ImageOptions) -> tuple[str, ...]:
    """How the pictures are turned; InputError for what is no variant."""
    return tuple(checked(names_in(images.variants) or []))


def extract_splits(dataset: str, images: ImageOptions) -> list[str]:
    """All splits that are there but train, which models were trained on; train if it is alone."""
    if images.download:
        open_split(dataset, "test", images.data, download=True)
    there = splits(dataset, images.data)
    return [split for split in there if split != "train"] or there


def open_sources(
    store: Store, dataset: str, splits: Sequence[str], images: ImageOptions
) -> list[Source]:
    """The splits' images, without those that the cache or `--unreadable skip` leaves out."""
    opened = [
        open_split(dataset, split, images.data, images.download, images.decoder) for split in splits
    ]
    how = (images.unreadable, images.workers, say, images.overwrite)
    return [readable(store, source, *how) for source in opened]
