"""A last stage that is no model: what stays unsure is left unanswered, or a person answers it.

It may only ever be last. The prediction is −1, nobody's, which no label is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from cache import InputError

ABSTAIN, HUMAN = "abstain", "human"
NOBODYS = (ABSTAIN, HUMAN)  # no model has these names
UNANSWERED = -1


def is_nobody(model: str) -> bool:
    """Whether the name is that of a last stage that is no model.

    >>> is_nobody("human"), is_nobody("resnet20")
    (True, False)
    """
    return model in NOBODYS


def check_reserved(models: Iterable[str]) -> None:
    """InputError for a model of such a name."""
    for model in filter(is_nobody, models):
        raise InputError(
            f"no model can be called {model}, which is a last stage that is no model: give it "
            "another name"
        )


@dataclass(frozen=True)
class Nobody:
    """What an image costs that no model answers, decimals as they were written.

    Left unanswered (ABSTAIN) it costs `loss`, where an error costs 1. A person (HUMAN) is right
    with probability `accuracy`, whatever the image, and asks `price` for it, in the unit of the
    prices of `kind`; None where the price is 0.
    """

    name: str
    loss: float = 0.0
    accuracy: float | None = None
    price: float = 0.0
    kind: str | None = None

    @classmethod
    def abstain(cls, loss: float) -> Nobody:
        """InputError for a loss below 0."""
        if not 0 <= loss < float("inf"):
            raise InputError(f"an abstention cannot cost {loss:g}: give 0 or more (an error is 1)")
        return cls(ABSTAIN, loss)

    @classmethod
    def human(cls, accuracy: float, price: float = 0.0, kind: str | None = None) -> Nobody:
        """InputError for what is no probability, or a price below 0."""
        if not 0 <= accuracy <= 1:
            raise InputError(f"a person cannot be right with probability {accuracy:g}: give 0 to 1")
        if not 0 <= price < float("inf"):
            raise InputError(f"a person's answer cannot cost {price:g}: give 0 or more")
        return cls(HUMAN, 0.0, accuracy, price, kind if price else None)

    @property
    def expected_loss(self) -> Fraction:
        """Of an image that is sent there, exactly, where an error costs 1.

        >>> Nobody.human(0.98).expected_loss
        Fraction(1, 50)
        """
        if self.accuracy is None:
            return Fraction(str(self.loss))
        return 1 - Fraction(str(self.accuracy))
