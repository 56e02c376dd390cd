"""What a paper states, as data: each fact with its source, and nothing that nobody published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A figure or formula in words; `value` is the figure, None for a formula."""

    text: str
    source: str
    value: float | None = None


@dataclass(frozen=True)
class Setting:
    """A cascade with its λ. `in_nats` where the entropy may have been compared in nats rather than
    as a share of the uniform distribution's, `on_train` where λ was searched on the training split;
    `note` says what differs from ours, or is not known.
    """

    dataset: str
    model_1: str
    model_2: str
    score: str
    threshold: float
    postcheck: bool
    source: str
    note: str
    in_nats: bool = False
    on_train: bool = False

    def __str__(self) -> str:
        return f"{self.model_1} → {self.model_2} on {self.dataset}"


@dataclass(frozen=True)
class Energy:
    """Energy of whole runs by share of duplicates: `values` by what ran, one per share.

    `single` is the key of the single model that all are held against, `plain` that of the cascade
    without a memory; the other keys are those of `memories`, hashes by our names, or runs that ours
    have no counterpart of. `reduction` is the largest one claimed, at the share `reduced_at`.
    """

    dataset: str
    unit: str
    duplicates: tuple[float, ...]
    values: dict[str, tuple[float, ...]]
    single: str
    plain: str
    memories: tuple[str, ...]
    reduction: Claim
    reduced_at: float
    source: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Paper:
    """`grid` is how many values of λ its search tries in [0, 1]."""

    name: str
    title: str
    reference: str
    grid: int
    claims: tuple[Claim, ...]
    settings: tuple[Setting, ...]
    energy: Energy
