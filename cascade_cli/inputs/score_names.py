"""Scores by their names, those of packages too."""

from __future__ import annotations

from cache import InputError, Store
from cascade_cli.inputs.words import names_in
from stages.scores import named_in, own


def checked_score(store: Store, name: str) -> str:
    """The name; InputError where no score has it."""
    return named_in(store, name).name


def deployable_scores(store: Store, text: str) -> list[str]:
    """Scores separated by commas, among which there may be no oracle."""
    found = names_in(text) or []
    if any(named_in(store, name).needs_label for name in found):
        raise InputError("the oracle cannot be deployed, it is among the baselines: leave it out")
    return found


def package_scores(store: Store, text: str | None) -> list[str]:
    """Of scores separated by commas those that packages add."""
    return list(own(tuple(checked_score(store, name) for name in names_in(text) or ())))


def postchecks(one: bool | None) -> tuple[bool, ...]:
    """Without and with post-check, or the one asked for."""
    return (False, True) if one is None else (one,)
