"""What is asked of a person, and what whoever asks has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

OTHER = "other"


@dataclass(frozen=True)
class LabelQuestion:
    """One picture to label: `key` names it, `picture` is a PNG, None where there is none; `answers`
    are different class names, in the order to show. ValueError for none."""

    sample_id: int
    key: str
    picture: bytes | None
    answers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.answers or len({*self.answers}) < len(self.answers):
            raise ValueError(f"different answers are needed, found {self.answers}")

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers, and `other`."""
        return (*self.answers, OTHER)


class Labeller(Protocol):
    """Knows what to ask next and keeps the answers.

    It is called from one thread at a time, not always the same. What it raises ends the page, and
    `ask` raises it.
    """

    def next_question(self) -> LabelQuestion | None:
        """None where nothing is left to ask."""

    def answered(self, sample_id: int, index: int | None) -> None:
        """Keeps an answer: which of the `answers`, None where it is none of them. What it has kept
        when it returns is not asked again."""

    def undo(self) -> LabelQuestion | None:
        """Takes the last answer back and asks it again; None where there is none. The question that
        was open is asked later."""

    def status(self) -> str:
        """One or two lines for the page: what is reached so far, what is still to do."""
