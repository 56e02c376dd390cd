"""Pictures that are stored as encoded images."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from stages.datasets.decode import decode
from stages.datasets.source import Source


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodedSource(Source):
    """Each picture is decoded when it is read."""

    @abstractmethod
    def where(self, i: int) -> str:
        """The place of picture i, for messages."""

    @abstractmethod
    def stored(self, i: int) -> bytes:
        """The encoded image."""

    def read(self, i: int) -> np.ndarray:
        return decode(self.stored(i), self.where(i), self.decoder or "pil")
