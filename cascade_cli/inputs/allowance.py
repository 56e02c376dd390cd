"""How much worse than a policy's promise is as promised still, from words."""

from __future__ import annotations

import re
from dataclasses import replace

from cache import InputError
from cascade_cli.inputs.words import names_in
from stages.policy import Allowance

# What --allow may name, and the field that each unit of it sets: points, or a share of the promise.
_ALLOWED = {
    "accuracy": {"pt": "accuracy"},
    "use": {"pt": "use", "%": "use_share"},
    "cost": {"%": "cost_share"},
    "loss": {"%": "loss_share"},
}


def allowance(text: str | None) -> Allowance:
    """What `accuracy=0.5pt,use=10%,cost=5%` allows; InputError for what it cannot."""
    found = Allowance()
    for word in names_in(text) or ():
        name, _, value = word.partition("=")
        told = re.fullmatch(r"(\d+(?:\.\d+)?)(pt|%)", value)
        field = None if told is None else _ALLOWED.get(name, {}).get(told[2])
        if told is None or field is None:
            raise InputError(
                f"--allow {word!r} is not understood: give accuracy=0.5pt, use=10% (of the "
                "promised) or use=2pt, cost=5%, loss=5%, by commas"
            )
        found = replace(found, **{field: float(told[1]) / 100})
    return found
