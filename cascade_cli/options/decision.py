"""How a cascade decides: its models, its score, its λ or how that is fitted, and its post-check."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_cli.options.common import SCORE_NAMES
from cascade_cli.options.groups import option
from stages.scores import LABEL_FREE


@dataclass(frozen=True)
class PairOptions:
    """The models A and B, each perhaps with a file of weights."""

    model_1: str | None = option(None, "First model, A.", "-m1", "--model1")
    model_2: str | None = option(None, "Second model, B.", "-m2", "--model2")
    weights_1: str | None = option(None, "Weights file of A.", "-w1", "--weights1")
    weights_2: str | None = option(None, "Weights file of B.", "-w2", "--weights2")


@dataclass(frozen=True)
class CalibrateOptions:
    """What makes scores of different models compare."""

    calibrate: str | None = option(
        None, "Scores as probabilities of being right, fitted where λ is: isotonic or platt."
    )


@dataclass(frozen=True)
class LossOptions:
    """What counts as right."""

    loss: str | None = option(
        None,
        "What an answer costs: a CSV or JSON file, K × K (row true, column answered) or one per "
        "class; or top5. [default: 1 where wrong]",
    )
    max_loss: float | None = option(
        None, "Under --loss: a mean loss of at most this; the cheapest is wanted."
    )


@dataclass(frozen=True)
class DecisionOptions(CalibrateOptions):
    """A score, λ (None: fitted, for the objective) and whether the surer answer counts."""

    scorefn: str | None = option(
        None, f"Score: {SCORE_NAMES}, oracle, a package's, a confidence. [default: maxp]", "-s"
    )
    threshold: str | None = option(None, "λ, a number, always or never. [default: fitted]", "-t")
    postcheck: bool = option(False, "Take B's answer only where B is surer than A.", "-p")
    objective: str = option("best", "Which fitted λ: best, or 1se (cheapest near it).")


@dataclass(frozen=True)
class ComparedOptions(CalibrateOptions):
    """Several scores and points of λ, separated by commas, without and with post-check."""

    scorefn: str = option(
        ",".join(LABEL_FREE), "Scores separated by commas; packages', confidences too.", "-s"
    )
    postcheck: bool | None = option(
        None, "One only. [default: both]", "-p/-P", "--postcheck/--no-postcheck"
    )
    objective: str = option("best,1se", "best, 1se or both, separated by commas.")
