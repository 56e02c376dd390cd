"""`profile` and `compare`: what the models cost, and what another device would change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import busy, prices
from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table, print_text, progress, say

if TYPE_CHECKING:
    import torch

    from cache import Store
    from cascade_cli.gather import Images
    from stages.datasets import Source
    from stages.energy import Meter
    from stages.inference import Runner
    from stages.models import Chosen
    from stages.profile import Subject

COST_COLUMNS = {
    "model": "model",
    "component": "component",
    "batch_size": "batch",
    "latency_ms": "ms per batch:.3f",
    "latency_p50_ms": "p50:.3f",
    "latency_p99_ms": "p99:.3f",
    "millijoules": "mJ per image",
    "half": "±",
    "above_idle": "above idle",
    "meter": "sensor",
    "windows": "windows",
}
BATCH_SIZES = "1,2,4,8,16,32,64"


def register(app: typer.Typer) -> None:
    told = "Measure latency and joules of each model by batch size."
    app.command("profile", short_help=told)(profile)
    app.command("compare", short_help="Which cascade is best on each device.")(compare)


def profile(
    dataset: opt.Dataset = None,
    data: opt.Data = None,
    models: Annotated[
        str, typer.Option("--models", help="Names separated by commas, `all`, `all-available`.")
    ] = "all-available",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model of your own, NAME=ARCHITECTURE:FILE. Repeatable."),
    ] = None,
    weights: opt.WeightsDir = None,
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", help="Separated by commas.")
    ] = BATCH_SIZES,
    preprocess: opt.Preprocess = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and shorter windows; the rows say so.")
    ] = False,
    meter: Annotated[
        str | None,
        typer.Option("--meter", help="Sensor to prefer, a package's too. [default: the best]"),
    ] = None,
    device: opt.Device = None,
    precision: opt.Precision = "fp32",
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Measure latency and joules of each model by batch size; write the costs table.

    \b
    cascade profile -d digits --batch-sizes 1,16,64
    """
    from cache import Store
    from cascade_cli import asking, gather

    wanted = [] if model and models == "all-available" else asking.names(models) or []
    first = next((name for name in wanted if name not in ("all", "all-available")), None)
    dataset = asking.dataset_for(dataset, None if model else first)
    images = gather.Images(data, weights, device=device, precision=precision, preprocess=preprocess)
    chosen = gather.choose_models(Store(cache), dataset, wanted, model or [], images)
    sizes = _sizes(batch_sizes)
    rows = measure(Store(cache), dataset, chosen, images, sizes, quick, meter)
    if as_json:
        print_json({"dataset": dataset, "rows": rows})
        return
    show_costs(rows)


def _timed(row: dict[str, Any]) -> busy.Timed:
    what = f"{row['model']} in batches of {row['batch_size']}"
    return what, row["latency_ms"], row["latency_p50_ms"]


# What `extract` measures of a model that has no costs yet: short windows, and the rows say so.
_FIRST_SIZES = (1, 8, 64)


def profile_new(
    store: Store, dataset: str, wanted: Sequence[str], aliases: Sequence[str], images: Images
) -> None:
    """A quick profile of the models whose costs on this device are not in the cache."""
    from cascade_cli import gather
    from stages.costs import read
    from stages.inference import device_name, open_device, runtime_name
    from stages.stale_costs import measured_with

    if images.engine != "local":
        say("costs are not measured with --engine ray: run `cascade profile` where they matter")
        return
    device = open_device(images.device, images.precision)
    here = (device_name(device), runtime_name(device, images.precision))
    chosen = gather.choose_models(store, dataset, wanted, aliases, images)
    known = read(store, dataset, [one.name for one in chosen])

    def measured(one: Chosen) -> bool:
        rows = [row for row in known[one.name] if measured_with(row, {one.weights.sha256})]
        return here in {(row["device"], row["runtime"]) for row in rows}

    new = [one for one in chosen if not measured(one)]
    if new:
        rows = measure(store, dataset, new, images, _FIRST_SIZES, quick=True)
        sensor = next((row["meter"] for row in rows if row["energy_j"] is not None), None)
        joules = f"joules by {sensor}" if sensor else prices.NO_SENSOR
        say(f"costs of {len(new)} models on {here[0]} measured in short windows ({joules})")


def _sizes(text: str) -> list[int]:
    from cache import InputError
    from cascade_cli import asking

    sizes = []
    for word in asking.names(text) or []:
        if not word.isdecimal() or not 0 < int(word) <= 65536:
            raise InputError(f"batch size {word!r} is no whole number from 1 to 65536")
        sizes.append(int(word))
    return sorted(set(sizes))


def measure(
    store: Store,
    dataset: str,
    chosen: Sequence[Chosen],
    images: Images,
    sizes: Sequence[int],
    quick: bool,
    meter: str | None = None,
) -> list[dict[str, Any]]:
    """Profile the models and merge the rows into the cache's costs; a note where the machine had
    other work."""
    from stages import profile as stage
    from stages.costs import merge
    from stages.inference import open_device, runtime_name

    device = open_device(images.device, images.precision)
    subjects = [_subject(dataset, one, images, device) for one in chosen]
    meters = _meters(device, meter)
    try:
        with progress(f"profiling {dataset}") as tell:
            preprocessing = _preprocessing(dataset, subjects, images)
            found = stage.run(subjects, meters, sizes, preprocessing, quick, tell)
    finally:
        for each in meters:
            each.close()
    runtime = runtime_name(device, images.precision)
    for name, rows in found.items():
        merge(store, dataset, runtime, name, rows)
    out = [{"model": m, "runtime": runtime} | row for m, rows in found.items() for row in rows]
    forward = (_timed(row) for row in out if row["component"] == "forward")
    busy.warn(forward, f"measure again: `cascade profile -d {dataset}`")
    return out


def _meters(device: torch.device, prefer: str | None) -> list[Meter]:
    """The device's meter, the host's beside it, and integrated power to hold a counter against."""
    from cache import InputError
    from stages.energy import open_meters

    found = open_meters([str(device)], prefer)
    if found[0].sensor.source != "nvml_counter":
        return found
    try:
        check, *others = open_meters([str(device)], "nvml_power")
    except InputError as error:
        say(f"nothing to hold the energy counter against: {error}")
        return found
    for each in others:
        each.close()
    return [found[0], check, *found[1:]]


def _subject(dataset: str, one: Chosen, images: Images, device: Any) -> Subject:
    """A loaded model with the shape of its input, from an image where there is one."""
    from stages.inference import Runner
    from stages.models import load
    from stages.profile import Subject

    preprocessing = one.spec.preprocessing
    module = load(one.spec, one.weights)
    parameters = sum(each.numel() for each in module.parameters())
    runner = Runner.of(module, preprocessing, device, images.precision)
    shape = preprocessing.pixels(_picture(dataset, images)).shape
    return Subject(one.name, runner, shape, one.spec.macs, parameters, one.weights.sha256)


def _picture(dataset: str, images: Images) -> Any:
    """The dataset's first image, or a black one of its size where no images are given."""
    import numpy as np

    from cache import InputError
    from stages.datasets import spec

    source = _source(dataset, images)
    if source is not None:
        return source.read(next(_decodable(source)))
    known = spec(dataset)
    if known is None:
        raise InputError(f"the size of {dataset}'s images is unknown: give --data DIR")
    return np.zeros((*known.size, 3), np.uint8)


def _source(dataset: str, images: Images) -> Source | None:
    from cascade_cli.asking import DEFAULT_DATASET
    from cascade_cli.gather import extract_splits
    from stages.datasets import open_split

    if images.data is None and dataset != DEFAULT_DATASET:
        return None
    split = extract_splits(dataset, images)[-1]
    return open_split(dataset, split, images.data, images.download, images.decoder)


def _decodable(source: Source) -> Iterator[int]:
    """Positions of the images that can be decoded; InputError if it is none."""
    from stages.datasets.decode import UnreadableImageError

    refused = []
    for i in range(len(source)):
        try:
            source.read(i)
        except UnreadableImageError as error:
            refused.append(error)
        else:
            yield i
    if len(refused) == len(source):
        raise refused[0]


def _preprocessing(
    dataset: str, subjects: Sequence[Subject], images: Images
) -> dict[str, Callable[[], object]]:
    """By model, a call that makes the next image its input; empty without images."""
    from itertools import cycle, islice

    from stages.inference import synchroniser

    source = _source(dataset, images)
    if source is None:
        return {}
    following = cycle(list(islice(_decodable(source), 256)))

    def call(runner: Runner) -> Callable[[], object]:
        """Decode, resize, upload, normalise."""
        sync = synchroniser(runner.device)

        def make() -> None:
            runner.upload(runner.preprocessing.pixels(source.read(next(following)))[None])
            sync()

        return make

    return {subject.name: call(subject.runner) for subject in subjects}


def show_costs(rows: Sequence[dict[str, Any]]) -> None:
    """The costs table, with joules in mJ, and what is missing from it."""
    print_table([row | _millijoules(row) for row in rows], COST_COLUMNS)
    doubted = doubts(rows)
    if doubted:
        say(f"warning: {doubted}")
    if all(row["energy_j"] is None for row in rows):
        blind = all(row["meter"] == "none" for row in rows)
        print(prices.NO_SENSOR if blind else f"joules unknown: {rows[0]['reason']}")


def doubts(rows: Sequence[dict[str, Any]]) -> str:
    """In one line what makes rows doubtful: each kind of warning once, in its worst figures, and of
    how many rows it is. Empty where nothing does."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for i, row in enumerate(rows):
        for warning in filter(None, (row["warnings"] or "").split("; ")):
            kinds.setdefault(_FIGURE.sub("#", warning), []).append((i, warning))
    told = []
    for found in kinds.values():
        texts = {warning for _, warning in found}
        worst = ", the worst" if len(texts) > 1 else ""
        count = len({i for i, _ in found})
        told.append(f"{max(texts, key=_gravity)} ({count} of {len(rows)} rows{worst})")
    return "; ".join(told)


_FIGURE = re.compile(r"\d+(\.\d+)?(e[-+]?\d+)?")


def _gravity(warning: str) -> list[float]:
    """Orders warnings of one kind, by the last figure that differs: more of something is worse, but
    of a short window fewer ticks are."""
    from stages.energy.meter import SHORT_WINDOW

    sign = -1.0 if warning.startswith(SHORT_WINDOW) else 1.0
    return [sign * float(found[0]) for found in _FIGURE.finditer(warning)][::-1]


def _millijoules(row: dict[str, Any]) -> dict[str, str]:
    """What is known of an image's joules, as the table tells them."""
    from stages.amounts import figures

    energy, high, above = (row[n] for n in ("energy_j", "energy_high_j", "energy_above_idle_j"))
    if energy is None:
        return {}
    half = None if high is None else high - energy
    known = {"millijoules": energy, "half": half, "above_idle": above}
    known = {name: value for name, value in known.items() if value is not None}
    return dict(zip(known, figures("J", *known.values()), strict=True))


def compare(
    dataset: opt.CachedDataset = None,
    cost_device: Annotated[
        str | None,
        typer.Option("--cost-device", help="Devices separated by commas. [default: all known]"),
    ] = None,
    cost: prices.Cost = None,
    batch_size: prices.BatchSize = 1,
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            callback=opt.share,
            help="Accuracy to reach on the fitting images. [default: the best model's]",
        ),
    ] = None,
    scorefn: opt.ScoreFns = opt.OWN_SCORES,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    runtime: opt.Runtime = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Which cascade is best on each device, and what one device's choice costs on another.

    \b
    cascade compare -d digits --cost-device jetson-nano,a100
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages import compare as stage

    store, images = Store(cache), gather.Images()
    names = asking.deployable_scores(store, scorefn)
    reported = gather.reported(store, dataset, split, None, images, runtime)
    gather.enough_models(store, reported.models[1:], reported)
    fitted = gather.fit_plan(store, reported, fit_split, images, runtime)
    for note in fitted.notes:
        say(note)
    by_device = prices.by_device(store, reported, cost_device, cost)
    rows = stage.run(reported, fitted, by_device, min_accuracy, batch_size, names)
    if as_json:
        head = {"dataset": reported.dataset, "split": reported.split, "fit_split": fitted.split}
        print_json(head | {"fit_method": fitted.method, "rows": rows})
        return
    _show_choices(rows, next(iter(by_device.values())).unit)
    if fitted.method == "cross-fit":
        print_text(gather.decided_by_folds(len(reported.labels)))


def _show_choices(rows: Sequence[dict[str, Any]], unit: str) -> None:
    from stages.amounts import figure, told_in

    devices = [row["device"] for row in rows]
    shown = [row | {name: figure(row["costs"][name], unit) for name in devices} for row in rows]
    columns = {"device": "best on", "model_1": "A", "model_2": "B", "score": "score"}
    columns |= {"postcheck": "post-check", "accuracy": "accuracy:.2%", "usage": "use of B:.1%"}
    print_table(shown, columns | {name: f"cost on {name}, {told_in(unit)}" for name in devices})
    for row in rows:
        for device, excess in row["excess"].items():
            if device != row["device"]:
                print(f"{row['device']}'s choice costs {excess:+.1%} on {device}")
