"""`threshold`: λ fitted exactly, for one pair or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import typer

from cache import InputError, Store, one_of
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_none, pricer_or_runs
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.flags import is_given, or_train, refuse
from cascade_cli.inputs.loss import under_loss
from cascade_cli.inputs.models import pair_or_all
from cascade_cli.inputs.question import check_question, flags_given, question_of
from cascade_cli.inputs.scores import checked_score, enough_models, known_scores, reported_scores
from cascade_cli.inputs.words import names_in, postchecks
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.fit import calibrated_by, fit_facts
from cascade_cli.show.points import show_classes, show_points
from cascade_cli.show.text import print_json, say
from stages import threshold as stage
from stages.calibration import calibrated
from stages.cascade import OBJECTIVES
from stages.costs import Pricer
from stages.scores import ScoreSet, named_classes, with_loss, with_references
from stages.search import AnswerPoint, OnePair, SearchRule, answers_of, rules
from stages.threshold import ClassChange, OperatingPoint, ThresholdQuestion


@dataclass(frozen=True)
class SweepOptions(opt.ComparedOptions):
    """Of one pair or all, at every λ or on a grid."""

    all_pairs: bool = opt.option(False, "Every ordered pair. [default without -m1, -m2]")
    n_threshold_values: int | None = opt.option(
        None, "A grid of n λ. [default: exact]", "-n", "--n_threshold_values", min=2, max=10**6
    )


@opt.grouped(
    "model_1 model_2 all_pairs models dataset data scorefn calibrate postcheck objective "
    "loss max_loss min_accuracy match within max_cost max_latency max_energy max_usage "
    "best_accuracy n_threshold_values split fit_split halves stratified train weights runtime cost "
    "cost_device batch_size baseline "
    "output for_spreadsheets cache as_json",
    models="Pairs of these only, separated by commas.",
    train="Fit on the training split, as the original.",
)
def threshold(
    context: typer.Context,
    pair: opt.PairOptions,
    wanted: opt.LogitsOptions,
    sweep: SweepOptions,
    asked: opt.QuestionOptions,
    judged: opt.LossOptions,
    costs: opt.CostOptions,
    common: opt.CommonOptions,
) -> None:
    """Fit λ exactly for one pair or all: the most accurate point, and the cheapest near it; or for
    one pair the λ that keeps limits.

    \b
    cascade threshold -m1 digits_wide -m2 digits_residual -s maxp
    cascade threshold -m1 digits_wide -m2 digits_residual --min-accuracy 0.97 --max-usage 0.3
    """
    check_table(common)
    store = Store(common.cache)
    question = _question(store, sweep)
    models = pair_or_all(pair, sweep.all_pairs)
    if models:
        refuse(context, ("models",), "is for all pairs: leave it out, or -m1 and -m2")
    check_question(asked, judged)
    questioned = bool(flags_given(asked)) or judged.max_loss is not None
    if questioned:
        _check_questioned(context, models, sweep)
    names = list(models) if models else names_in(wanted.models)
    reported = reported_scores(store, wanted, names)
    scores = known_scores(question.scores, reported, is_given(context, "scorefn"))
    split = or_train(context, "fit_split", wanted.fit_split, wanted.train)
    fitted = fit_plan(store, reported, replace(wanted, fit_split=split))
    reported, fitted, scores = calibrated(reported, fitted, sweep.calibrate, scores)
    reported, fitted = under_loss(store, judged.loss, reported, fitted)
    question = replace(question, scores=tuple(scores))
    enough_models(store, reported.models[1:], reported)
    everyone = with_references(store, reported) if names else reported
    if reported.loss is not None and costs.baseline is not None:
        everyone = with_loss(store, everyone, reported.loss)
    rows: Sequence[OperatingPoint]
    pricer: Pricer | None
    if models and questioned:
        pricer = found = pricer_or_runs(store, everyone, reported.models, costs)
        limits = question_of(store, reported, asked, found, costs, judged.max_loss)
        table = rules(question.scores, question.postchecks)
        rows = answers_of(store, OnePair(reported, fitted, found, models, limits), table)
        say(*_left_out(table, rows))
    else:
        pricer = pricer_or_none(store, everyone, reported.models, costs, comparing=True)
        rows = stage.run(store, reported, fitted, models and [models], question, pricer)
    say(*fitted.notes)
    write_rows(rows, common)
    classes = _by_class(store, reported, rows, pricer) if models else []
    if common.as_json:
        head = fit_facts(reported, fitted) | calibrated_by(sweep.calibrate, fitted)
        of_classes = {"classes": classes} if classes else {}
        print_json(head | of_classes | {"rows": rows})
        return
    show_points(reported, fitted, rows)
    show_classes(_first(rows).cascade, str(_first(rows).against.baseline), classes, fitted.method)


def _check_questioned(
    context: typer.Context, models: tuple[str, str] | None, sweep: SweepOptions
) -> None:
    """InputError where limits are asked of all pairs, or of a grid or a point of their own."""
    if not models:
        raise InputError("limits are for one pair: give -m1 and -m2, or ask `cascade search`")
    grid = ("objective", "n_threshold_values")
    refuse(context, grid, "says which λ by itself: leave it out, or the limits")


def _left_out(table: Sequence[SearchRule], rows: Sequence[OperatingPoint]) -> list[str]:
    """Which rules have no λ that keeps the limits."""
    found = {(row.score, row.postcheck) for row in rows}
    left = [rule for rule in table if (rule.score, rule.postcheck) not in found]
    names = [rule.score + (" -p" if rule.postcheck else "") for rule in left]
    return [f"no λ keeps them by {', '.join(names)}"] if names else []


def _first(rows: Sequence[OperatingPoint]) -> OperatingPoint:
    """The answer, or the best where λ was fitted."""
    return rows[0] if isinstance(rows[0], AnswerPoint) else min(rows, key=lambda row: row.rank)


def _by_class(
    store: Store, reported: ScoreSet, rows: Sequence[OperatingPoint], pricer: Pricer | None
) -> list[ClassChange]:
    """Of one pair's row that is told first, where answers have a loss."""
    if reported.loss is None:
        return []
    row = _first(rows)
    other = row.against.baseline
    alone = None if pricer is None else pricer.compared_with
    if alone is None or other in reported.models:
        alone = reported.baseline(reported.index(str(other)))
    return stage.by_class(reported, row.cascade, alone, named_classes(store, reported))


def _question(store: Store, options: SweepOptions) -> ThresholdQuestion:
    """The stage's; InputError for names that it does not know."""
    scores = dict.fromkeys(names_in(options.scorefn) or ())
    objectives = tuple(names_in(options.objective) or ())
    for name in objectives:
        if name not in OBJECTIVES:
            raise one_of("objective", name, OBJECTIVES)
    return ThresholdQuestion(
        tuple(checked_score(store, name) for name in scores),
        postchecks(options.postcheck),
        objectives,
        options.n_threshold_values,
    )
