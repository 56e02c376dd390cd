"""Makes a cache read only for a while, for root as well."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NOBODY = 65534


@contextlib.contextmanager
def sealed(root):
    """Nothing may be written below `root` meanwhile; it must be reachable for other users."""
    every = [Path(root), *Path(root).rglob("*")]
    for path in every:
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in every:
            path.chmod(0o755)
