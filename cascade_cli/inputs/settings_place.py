"""Where defaults of options may stand: light enough for every start to look."""

from __future__ import annotations

import os
from pathlib import Path

FILE, VARIABLE, PREFIX = "cascade.toml", "CASCADE_CONFIG", "CASCADE_"


def file_in_force() -> str | None:
    """$CASCADE_CONFIG, none where that is empty; else the nearest cascade.toml, from here up."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return named or None
    try:
        here = Path.cwd()
    except OSError:  # it was deleted
        return None
    found = (folder / FILE for folder in (here, *here.parents))
    return next((str(path) for path in found if os.path.lexists(path)), None)


def any_settings() -> bool:
    """Whether anything may be configured at all."""
    ours = (name for name in os.environ if name.startswith(PREFIX) and name != VARIABLE)
    return file_in_force() is not None or any(ours)
