"""The SHA-256 of each picture as it is stored: tells one that was replaced under its name.

Nothing is decoded for it. A shard hashes the pictures of its own parts, and all of them only where
one of these is not as recorded, or where nothing is recorded yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from stages.datasets import Source
from stages.extract.options import Options
from stages.parallel import default_workers, prefetch

PICTURES = "pictures_sha256"
"""In the provenance of samples and logits: one digest over those of all pictures, by sample id."""

Recorded = Sequence[str | None]
"""The digests in the cache, null in one that is older than they are."""

_SPAN = 64  # pictures per task of a thread


class Digests:
    """Of a split's pictures as they are now, each hashed when it is first asked for."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        # The samples of this run's parts.
        (index, count), rows = options.shard, options.part_rows
        self._own = [i for i in range(len(source)) if i // rows % count == index]
        self._workers = options.workers or default_workers()
        self._found: dict[int, str] = {}

    def all(self) -> list[str]:
        """Of every picture."""
        return self._hashed(range(len(self.source)))

    def beside(self, recorded: Recorded) -> list[str]:
        """Of every picture; where none that this run works on has changed, those of other shards
        are taken for unchanged."""
        own = dict(zip(self._own, self._hashed(self._own), strict=True))
        if any(recorded[i] != own[i] for i in own):
            return self.all()
        return [own.get(i) or str(known) for i, known in enumerate(recorded)]

    def _hashed(self, rows: Sequence[int]) -> list[str]:
        new = [i for i in rows if i not in self._found]
        spans = [new[at : at + _SPAN] for at in range(0, len(new), _SPAN)]
        for found in prefetch(self._span, spans, self._workers):
            self._found |= found
        return [self._found[i] for i in rows]

    def _span(self, rows: Iterable[int]) -> dict[int, str]:
        return {i: hashlib.sha256(self.source.stored(i)).hexdigest() for i in rows}


def changed(now: Sequence[str], recorded: Recorded) -> list[int]:
    """The samples whose pictures are not those that were recorded."""
    return [i for i, (new, old) in enumerate(zip(now, recorded, strict=True)) if new != old]
