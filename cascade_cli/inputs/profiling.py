"""What the models cost on this machine, which needs their engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

import numpy as np

from cache import CostRow, InputError, Store
from cascade_cli.inputs.dataset import DEFAULT_DATASET, extract_splits, open_sources
from cascade_cli.inputs.running import device_of, models_to_run, runtime_of
from cascade_cli.options.images import ImageOptions
from cascade_cli.show.costs import NO_SENSOR
from cascade_cli.show.profile import warn_busy
from cascade_cli.show.text import progress, say
from stages import costs as stage, hashes as hash_stage
from stages.costs import Subject, measured_with, merge, read
from stages.datasets import Source, UnreadableImageError, open_split, spec
from stages.energy import Meter, open_meters
from stages.hashes import hash_of
from stages.models import Chosen, load
from stages.runtimes import Device, ModelRunner, device_name, runner_of, runtime_name, synchroniser

# What `extract` measures of a model that has no costs yet: short windows, and the rows say so.
_FIRST_SIZES = (1, 8, 64)


def profile_new(
    store: Store, dataset: str, wanted: Sequence[str], aliases: Sequence[str], images: ImageOptions
) -> None:
    """A quick profile of the models whose costs on this device are not in the cache."""
    if images.engine != "local":
        say("costs are not measured with --engine ray: run `cascade profile` where they matter")
        return
    here = (device_name(device_of(images)), runtime_of(images))
    chosen = models_to_run(store, dataset, wanted, aliases, images)
    known = read(store, dataset, [one.name for one in chosen])

    def measured(one: Chosen) -> bool:
        rows = [row for row in known[one.name] if measured_with(row, {one.weights.sha256})]
        return here in {(row.device, row.runtime) for row in rows}

    new = [one for one in chosen if not measured(one)]
    if new:
        rows = profile_models(store, dataset, [(new, images)], _FIRST_SIZES, quick=True)
        sensor = next((row.meter for row in rows if row.energy_j is not None), None)
        joules = f"joules by {sensor}" if sensor else NO_SENSOR
        say(f"costs of {len(new)} models on {here[0]} measured in short windows ({joules})")


def profile_models(
    store: Store,
    dataset: str,
    runs: Sequence[tuple[Sequence[Chosen], ImageOptions]],
    sizes: Sequence[int],
    quick: bool,
    meter: str | None = None,
) -> list[CostRow]:
    """Profile the models of each runtime, side by side, and merge the rows into the cache's costs;
    a note where the machine had other work.

    InputError for runtimes on several devices.
    """
    devices = [device_of(images) for _, images in runs]
    device, images = devices[0], runs[0][1]
    if others := {str(each) for each in devices} - {str(device)}:
        raise InputError(
            f"costs are measured on one device at a time, not on {device} and {others.pop()}: "
            "profile each in a run of its own"
        )
    source = _source(dataset, images)
    picture = _picture(dataset, source)
    subjects = [
        _subject(one, picture, device, images.precision, source)
        for (chosen, images), device in zip(runs, devices, strict=True)
        for one in chosen
    ]
    with closed(_meters(device, meter)) as meters, progress(f"profiling {dataset}") as tell:
        found = stage.profile_models(subjects, meters, sizes, quick, tell)
    rows = [row for of_model in found.values() for row in of_model]
    merge(store, dataset, rows)
    forward = (
        (f"{row.model} in batches of {row.batch_size}", row.latency_ms, row.latency_p50_ms)
        for row in rows
        if row.component == "forward" and row.latency_ms and row.latency_p50_ms
    )
    warn_busy(forward, f"measure again: `cascade profile -d {dataset}`")
    return rows


def measure_hashes(
    store: Store, dataset: str, split: str, algorithms: Sequence[str], images: ImageOptions
) -> list[CostRow]:
    """Measure those that have no costs beside the device; rows as `stages.hashes.costs` gives."""
    device = device_of(images)
    hashes = [hash_of(name) for name in algorithms]
    new = hash_stage.unmeasured(store, dataset, hashes, device)
    if not new:
        return []
    [source] = open_sources(store, dataset, [split], images)
    with closed(open_meters(["cpu"])) as meters, progress("measuring hashes") as tell:
        rows = hash_stage.measure_costs(store, source, new, device, meters, tell)
    for row in rows:
        say(f"{row.model.removeprefix('hash:')}: {1e3 * (row.latency_ms or 0):.0f} µs an image")
    return rows


@contextmanager
def closed(meters: list[Meter]) -> Iterator[list[Meter]]:
    """The meters, each closed in the end."""
    try:
        yield meters
    finally:
        for each in meters:
            each.close()


def _meters(device: Device, prefer: str | None) -> list[Meter]:
    """The device's meter, the host's beside it, and integrated power to hold a counter against."""
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


def _subject(
    one: Chosen, picture: Any, device: Device, precision: str, source: Source | None
) -> Subject:
    """A loaded model with the shape of its input, from a picture."""
    preprocessing, sha256 = one.spec.preprocessing, one.weights.sha256
    runner = runner_of(load(one.spec, one.weights), preprocessing, device, precision)
    about = (preprocessing.pixels(picture).shape, one.spec.macs, runner.parameters, sha256)
    prepares = None if source is None else _preprocessing(source, runner)
    return Subject(one.name, runtime_name(device, precision), runner, *about, prepares)


def _picture(dataset: str, source: Source | None) -> Any:
    """The dataset's first image, or a black one of its size where no images are given."""
    if source is not None:
        return source.read(next(_decodable(source)))
    known = spec(dataset)
    if known is None:
        raise InputError(f"the size of {dataset}'s images is unknown: give --data DIR")
    return np.zeros((*known.size, 3), np.uint8)


def _source(dataset: str, images: ImageOptions) -> Source | None:
    if images.data is None and dataset != DEFAULT_DATASET:
        return None
    asked = images.split if images.unlabelled else None  # whose folders tell no split
    split = extract_splits(dataset, images, asked)[-1]
    how = (images.data, images.download, images.decoder, images.unlabelled)
    return open_split(dataset, split, *how)


def _decodable(source: Source) -> Iterator[int]:
    """Positions of the images that can be decoded; InputError if it is none."""
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


def _preprocessing(source: Source, runner: ModelRunner) -> Callable[[], object]:
    """A call that makes the next image the model's input: decode, resize, upload, normalise."""
    following = cycle(list(islice(_decodable(source), 256)))
    sync = synchroniser(runner.device)

    def make() -> None:
        runner.upload(runner.preprocessing.pixels(source.read(next(following)))[None])
        sync()

    return make
