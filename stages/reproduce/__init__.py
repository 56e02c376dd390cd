"""Published figures of papers, ours beside them. A paper is one module of facts, and a line."""

from __future__ import annotations

from cache.errors import one_of
from stages.reproduce import kinnas2024
from stages.reproduce.facts import Claim, Energy, Paper, Setting

__all__ = ["PAPERS", "Claim", "Energy", "Paper", "Setting", "paper"]

PAPERS: dict[str, Paper] = {each.name: each for each in (kinnas2024.PAPER,)}


def paper(name: str) -> Paper:
    """InputError for a name that no paper has."""
    if name not in PAPERS:
        raise one_of("paper", name, PAPERS)
    return PAPERS[name]
