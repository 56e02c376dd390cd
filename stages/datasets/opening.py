"""How to open the same pictures again, in another process or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.datasets.source import Source


@dataclass(frozen=True)
class Opening:
    """The arguments of `open_split`, and what was left out since; small, and made to be pickled.

    data: an absolute path, or None for a dataset that needs none. left_out: (key, reason) pairs.
    """

    dataset: str
    split: str
    data: str | None
    decoder: str
    left_out: tuple[tuple[str, str], ...] = ()

    def open(self) -> Source:
        """The split as it lies there now; equal fingerprints say that nothing has changed.

        Raises InputError as `open_split` does, and for a picture left out that is not there.
        """
        from stages.datasets.registry import open_split

        source = open_split(self.dataset, self.split, self.data, decoder=self.decoder)
        return source.without_keys(self.left_out) if self.left_out else source
