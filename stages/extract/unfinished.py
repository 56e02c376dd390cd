"""Parts that an earlier run left and this one cannot go on from: the user is told why."""

from __future__ import annotations

from collections.abc import Callable

from cache import InputError, Manifest, PartitionWriter
from cache.about import about_parts
from cache.provenance import differences

# With other images no model of the split was finished; that is told, and what made them so.
_HARMLESS = ("dataset_fingerprint",)


def check(
    writer: PartitionWriter,
    before: Manifest | None,
    overwrite: bool,
    note: Callable[[str], None],
) -> None:
    """Of a partition that is not complete; `before` is its manifest where it was, but damaged.

    InputError where its parts come from other weights or another preprocessing, unless `overwrite`;
    a note where they do not fit for another reason.
    """
    if before is not None and before.identity == writer.identity:
        made_with = {key: before.provenance.get(key) for key in writer.made_with}
        if made_with != writer.made_with:
            differing = "; ".join(differences(made_with, writer.made_with))
            note(
                f"{writer.partition} is damaged, and was made otherwise ({differing}): all of it "
                "is made again"
            )
        return
    about = about_parts(writer.store, writer.partition)
    if about is None or about.made == writer.made:
        return
    old, new = about.identity | about.made_with, writer.identity | writer.made_with
    differing = "; ".join(differences(old, new)) or "their columns differ"
    found = f"{len(about.receipts)} parts of {writer.partition}, unfinished, were made otherwise"
    grave = {key for key in about.identity if about.identity[key] != writer.identity.get(key)}
    if grave - set(_HARMLESS) and not overwrite:
        raise InputError(
            f"{found} ({differing}): give --overwrite, another name or another --cache"
        )
    note(f"{found} ({differing}): they are made again")
