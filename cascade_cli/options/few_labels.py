"""What is to be certified from few labels, and how these are given."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_cli.options.common import MOST, share
from cascade_cli.options.groups import option


@dataclass(frozen=True)
class FewLabelsOptions:
    """The plan's limits and sampling, its folder, and what to do with it now."""

    on_split: str | None = option(
        None, "Split to certify on; labels that it has are not used.", "--unlabelled"
    )
    reference: str | None = option(
        None, "Lost against this model. [default: the most accurate of --fit-split]"
    )
    max_usage: float | None = option(
        None, "Also: at most this share of the requests go to B, 0 to 1.", callback=share
    )
    max_cost: str | None = option(None, "Also: at most this --cost a request: 0.5mJ, 12ms, 150M.")
    label_budget: int | None = option(
        None, "Ask for at most so many labels; 0: promise the reference's answers.", min=0, max=MOST
    )
    label_share: float | None = option(
        None, "Ask for this share of the disagreements. [default: 1, or as the budget needs]"
    )
    bound: str | None = option(None, "binomial (default), or betting, which needs more labels.")
    per: str | None = option(None, "Promise each its own: predicted-class.")
    hold: str = option("all", "Of --per: all promises hold, or these: tell which.")
    accuracy_sample: int = option(
        0, "Also ask for so many images answered alike, to tell the accuracy.", min=0, max=MOST
    )
    seed: int = option(0, "Of what is drawn by chance.", min=0, max=MOST)
    plan: str = option("certify", "Folder of the plan and its labels.")
    interactive: bool = option(False, "Label picture after picture, in a local page.")
    port: int = option(0, "Of the page. [default: one that is free]", min=0, max=65535)
    browser: bool = option(
        True, "Open the page, or print its address only.", "--browser/--no-browser"
    )
    policy: str | None = option(None, "Also write what is certified to this folder: see export.")
