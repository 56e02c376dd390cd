"""Files outside of a cache: whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO


def write_whole(writers: Mapping[Path, Callable[[BinaryIO], object]]) -> None:
    """Write each file by its writer. OSError where one cannot be written; then all that stood there
    before still stands."""
    made: dict[Path, Path] = {}
    try:
        for path, write in writers.items():
            place = path.resolve()
            temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
            made[temporary] = place
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        for temporary, place in made.items():
            os.replace(temporary, place)
    finally:
        for temporary in made:
            temporary.unlink(missing_ok=True)
