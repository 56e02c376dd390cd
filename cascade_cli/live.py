"""`live`: run a cascade, or one model, for real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.ending import ENDINGS, finish
from cascade_cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from cache import Store
    from cascade_cli.gather import Images
    from stages.datasets import Source
    from stages.live import Served
    from stages.score import ScoreSet
    from stages.simulate import Cascade

CLASS_COLUMNS = {
    "class": "class",
    "precision": "precision:.3f",
    "recall": "recall:.3f",
    "f1-score": "F1:.3f",
    "support": "images:.0f",
}


def register(app: typer.Typer) -> None:
    app.command("live")(live)


def live(
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    dataset: opt.Dataset = None,
    data: opt.Data = None,
    scorefn: opt.ScoreFn = "maxp",
    threshold: opt.Threshold = None,
    postcheck: opt.PostCheck = False,
    objective: opt.Objective = "best",
    batch_size: Annotated[int, typer.Option(min=1, help="Requests answered at once.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first requests. [default: all]")
    ] = None,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights_1: opt.Weights1 = None,
    weights_2: opt.Weights2 = None,
    weights: opt.WeightsDir = None,
    device: opt.Device = None,
    precision: opt.Precision = "fp32",
    end: Annotated[
        str, typer.Option("-e", "--end", help="When done: none, alarm or shutdown.")
    ] = "none",
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Answer every image for real, time it, and hold the answers against `simulate`.

    \b
    cascade live -m1 digits_wide -m2 digits_residual --batch-size 64
    """
    from cache import InputError, Store
    from cache.errors import one_of
    from cascade_cli import asking, gather
    from stages.models.factory import require_torch

    if end not in ENDINGS:
        raise one_of("ending", end, ENDINGS)
    if model_1 is None:
        raise InputError("live needs a model: give -m1 A, and -m2 B for a cascade")
    require_torch()
    store = Store(cache)
    files = asking.weights_files(model_1, weights_1, model_2, weights_2)
    dataset = asking.dataset_for(dataset, model_1)
    images = gather.Images(data, weights, files, device, precision)
    split = gather.report_split(store, dataset, split)
    models = (model_1,) if model_2 is None else asking.required_pair(model_1, model_2)
    request = _Request(dataset, split, models, images, batch_size, limit)
    if len(models) == 1:
        result = _one_model(request)
    else:
        rule = (scorefn, threshold, postcheck)
        result = _cascade(store, request, rule, objective, fit_split)
    if as_json:
        print_json(result)
    else:
        _show(result)
    finish(end)


@dataclass(frozen=True)
class _Request:
    """What is to be answered, by which models."""

    dataset: str
    split: str
    models: tuple[str, ...]
    images: Images
    batch_size: int
    limit: int | None

    def serve(self, cascade: Cascade, scores: ScoreSet | None = None) -> tuple[Source, Served]:
        """The images, which are those of `scores` where given, and what was answered."""
        from cascade_cli.gather import live_cascade, same_images
        from stages.live import serve

        source, running = live_cascade(self.dataset, self.split, self.models, cascade, self.images)
        if scores is not None:
            same_images(scores, source)
        with progress("live") as tell:
            return source, serve(source, running, self.batch_size, self.limit, tell)


def _cascade(
    store: Store,
    request: _Request,
    rule: tuple[str, str | None, bool],
    objective: str,
    fit_split: str | None,
) -> dict[str, Any]:
    from cascade_cli import gather
    from stages.live import agreement, first
    from stages.simulate import simulate, summary

    images, pair = request.images, (request.models[0], request.models[1])
    runtime = gather.runtime_of(images)
    scores = gather.scores(store, request.dataset, request.split, pair, images, runtime)
    cascade, fit = gather.decided(store, scores, pair, rule, objective, fit_split, images, runtime)
    gather.same_weights(scores, request.dataset, pair, images)
    source, served = request.serve(cascade, scores)
    scores = first(scores, len(served.ids))
    predicted = summary(scores, cascade, simulate(scores, cascade))
    measured = {
        "n": len(served.ids),
        "accuracy": served.accuracy,
        "usage": float(served.escalated.mean()),
        "escalated": int(served.escalated.sum()),
        "took_b": int(served.took_b.sum()),
    }
    found = agreement(served, scores, cascade, images.precision)
    found["simulated"] = {key: predicted[key] for key in measured}
    head = {"dataset": request.dataset} | predicted | measured | fit
    return head | _about(source, served, images) | {"agreement": found}


def _one_model(request: _Request) -> dict[str, Any]:
    from stages.simulate import Cascade

    source, served = request.serve(Cascade(request.models[0], "", threshold="never"))
    head: dict[str, Any] = {"dataset": request.dataset, "split": request.split}
    head |= {"model_1": request.models[0], "model_2": None}
    figures = {"n": len(served.ids), "accuracy": served.accuracy, "usage": None, "agreement": None}
    return head | figures | _about(source, served, request.images)


def _about(source: Source, served: Served, images: Images) -> dict[str, Any]:
    from stages.live import classification, latency_summary

    return {
        "batch_size": served.batch_size,
        "precision": images.precision,
        "latency_ms": latency_summary(served),
        "preprocess_ms": float(served.preprocess_ms.mean()),
        "energy": {"energy_j_per_request": None, "reason": "joules are not measured yet"},
        "classification": classification(served, source.class_names),
    }


def _show(result: dict[str, Any]) -> None:
    report = result["classification"]
    rows = [{"class": name} | row for name, row in report.items() if isinstance(row, dict)]
    print_table(rows, CLASS_COLUMNS)
    print()
    second = f" → {result['model_2']}" if result["model_2"] else " alone"
    print(f"{result['model_1']}{second} on {result['dataset']}/{result['split']}")
    print(f"  images     {result['n']}")
    print(f"  accuracy   {result['accuracy']:.2%}")
    if result["usage"] is not None:
        print(f"  use of B   {result['usage']:.2%} ({result['escalated']} requests)")
    latency = "  ".join(f"{name} {value:.3f}" for name, value in result["latency_ms"].items())
    print(f"  latency    {latency} ms per batch of {result['batch_size']}")
    print(f"  decoding   {result['preprocess_ms']:.3f} ms per batch, beside it")
    print("  energy     unknown: no joules were measured")
    if result["agreement"]:
        _show_agreement(result["agreement"])


def _show_agreement(found: dict[str, Any]) -> None:
    count = len(found["differences"])
    verdict = "no difference" if not count else f"{count} differ"
    print(
        f"  agreement  {found['n']} images against simulate: {verdict}, "
        f"{found['outside_noise']} outside float noise ({found['noise']:g}); "
        f"scores moved by up to {found['largest_score_shift']:.1e}"
    )
    for row in found["differences"]:
        print(f"    sample {row['sample_id']}: {row['distance']:.1e} from the {row['boundary']}")
    if found["outside_noise"]:
        say("warning: the live run and the simulation disagree by more than float noise")
