"""What stages have to say about the cache on stderr: one line each, and each line once."""

from __future__ import annotations

import sys
from functools import lru_cache

from cache import Manifest, Store, copy_marker
from cache.parts import part_intact
from stages.visible_text import visible


@lru_cache(maxsize=64)
def once(line: str) -> None:
    print(visible(line), file=sys.stderr, flush=True)


def sound(store: Store, manifest: Manifest) -> bool:
    """Whether every part has the bytes that were written; those that have not are told, as what
    is made again."""
    place = manifest.partition
    damaged = [part for part in manifest.parts if not part_intact(store, place, part)]
    for part in damaged:
        path = store.describe(f"{place.path}/{part.name}")
        once(f"{path} is missing or damaged: what it held is made again from the logits")
    return not damaged


def unfinished_copy(store: Store) -> None:
    """Warn where the cache is a published copy whose export has not come to its end."""
    request = copy_marker.read(store)
    if request is not None:
        what = copy_marker.describe(request)
        once(
            f"warning: {store.root} is an unfinished copy{what}: run its export again to finish it"
        )
