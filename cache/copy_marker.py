"""The marker of a published copy that is not complete: written before the rest, removed last.

It holds what was asked for, so that the same request, and no other, goes on where a killed one
ended.
"""

from __future__ import annotations

import json
from typing import Any

from cache.provenance import differences
from cache.storage import InputError, Store

MARKER = "UNFINISHED.json"
_FEW = 3

Request = dict[str, Any]


def write_marker(store: Store, request: Request) -> None:
    store.write(MARKER, json.dumps(request, indent=1, ensure_ascii=False).encode())


def read_marker(store: Store) -> Request | None:
    """What the unfinished copy is to hold; None where there is no marker, {} where it is damaged.

    `dataset`, `tier`, `splits`, `models` are there, `sources` (a digest of each), and whatever else
    must agree to go on.
    """
    try:
        found = json.loads(store.read(MARKER).to_pybytes())
        describe_marker(found), dict(found["sources"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return {}
    return dict(found)


def remove_marker(store: Store) -> None:
    store.delete(MARKER)


def check_marker(store: Store, request: Request) -> None:
    """InputError where the unfinished copy there, if any, is of another request."""
    there = read_marker(store)
    if there is None or there == json.loads(json.dumps(request)):
        return
    what = f"{store.root} holds an unfinished copy{describe_marker(there)}"
    if not there:
        raise InputError(f"{what}, and its marker is damaged: remove it or give a new folder")
    if asked := differences(*(one | {"sources": None} for one in (there, request))):
        raise InputError(
            f"{what}, not what is asked for now ({'; '.join(asked)}): finish it by its own command"
            ", or publish into a new folder"
        )
    changed = differences(there["sources"], request["sources"])
    more = f"; {len(changed) - _FEW} more" if len(changed) > _FEW else ""
    raise InputError(
        f"{what}, and what it is a copy of has changed since ({'; '.join(changed[:_FEW])}{more}): "
        "remove it and run this again, or publish into a new folder"
    )


def describe_marker(request: Request) -> str:
    """` of digits (tier scores, splits test, val, models a, b)`; nothing of a damaged marker."""
    if not request:
        return ""
    splits, models = (_few(request[key]) for key in ("splits", "models"))
    tier = request["tier"]
    return f" of {request['dataset']} (tier {tier}; splits {splits}; models {models})"


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:_FEW])
    return shown if len(names) <= _FEW else f"{shown} … ({len(names)} in all)"
