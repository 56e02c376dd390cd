"""The engine `ray`: a Ray Data data set of parts, mapped over actors that write them.

Each actor keeps its models and writes what it makes to the cache itself; only records of parts come
back. An actor that dies is started again, here or on another node, and its parts are made again:
a part may be written twice, with the same rows and other times. So the driver holds every record
against what lies in the cache, and has a part made once more where they differ.
"""

from __future__ import annotations

import logging
import pickle
import platform
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cache import InputError, Store, part_intact, versions
from stages.extract.options import Options
from stages.extract.portable import Parcel, arrived, portable
from stages.extract.ray_cluster import Share, share, worker_device
from stages.extract.work import Item, Made, Work
from stages.extract.worker import Worker

_ROUNDS = 3
_SAME = ("cascade-cli", "torch", "torchvision")


@dataclass(frozen=True)
class Order:
    """What an actor is given: work of its own number of decoding threads, the kind of device, and
    its share. `probe` is a file that the driver has written to the cache."""

    parcel: Parcel
    kind: str
    share: Share
    probe: str


@dataclass
class ActorReport:
    """What an actor says of one item; `error` is an InputError's line."""

    item: Item
    device: str = ""
    tries: int = 1
    made: list[Made] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None


def run(work: Work, options: Options, tell: Callable[[int], None]) -> Generator[Made, None, None]:
    """Every part that `work` lacks, in the order in which they are finished.

    InputError for what a worker refuses, and where a part ends its worker again and again.
    """
    each = share(options.device, options.ray_workers)
    left = work.items()
    if len(left) < each.workers:
        options.note(
            f"{len(left)} parts for {each.workers} Ray workers: a smaller --part-rows would "
            "use them all"
        )
    parcel = portable(replace(work, workers=options.workers or max(1, each.cpus)))
    with _probe(Store(work.root)) as probe:
        order = Order(parcel, options.device.type, each, probe)
        for _ in range(_ROUNDS):
            left = yield from _round(work, left, order, options, tell)
            if not left:
                return
    raise InputError(
        f"{_named(work, left[0])} is not in {work.root} as its worker wrote it: check that nobody "
        "else writes there, and run the same command again"
    )


@contextmanager
def _probe(store: Store) -> Iterator[str]:
    """A file by which workers know the driver's cache."""
    path = f".tmp/{uuid.uuid4().hex}.part"
    store.write(path, b"")
    try:
        yield path
    finally:
        store.delete(path)


def _round(
    work: Work, items: list[Item], order: Order, options: Options, tell: Callable[[int], None]
) -> Generator[Made, None, list[Item]]:
    """Have the items made once; returns those whose files are not what their records say."""
    again = []
    devices: set[str] = set()
    store = Store(work.root)
    with closing(_reports(items, order)) as reports:
        for report in reports:
            _pass_on(work, report, devices, options.note)
            if all(_lies_there(store, work, made) for made in report.made):
                tell(work.images([report.item]))
                yield from report.made
            else:
                again.append(report.item)
    return again


def _pass_on(
    work: Work, report: ActorReport, devices: set[str], note: Callable[[str], None]
) -> None:
    if report.error is not None:
        raise InputError(report.error)
    if report.tries > 1:
        note(f"a worker was lost with {_named(work, report.item)}: another has made it")
    if devices and report.device not in devices:
        note(f"the cluster's devices differ: {', '.join(sorted({*devices, report.device}))}")
    devices.add(report.device)
    for line in report.notes:
        note(line)


def _lies_there(store: Store, work: Work, made: Made) -> bool:
    """Whether the files of a part have the very bytes of its record."""
    task = work.tasks[made.task]
    parts = {"timings": made.timings, "logits": made.logits}
    return all(part_intact(store, task.partition(table), part) for table, part in parts.items())


def _reports(items: list[Item], order: Order) -> Generator[ActorReport, None, None]:
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    workers = min(order.share.workers, len(items))
    rows = [{"split": split, "part": part} for split, part in items]
    tries = ray.remote(num_cpus=0, max_restarts=-1)(Tries).remote()
    maker: Any = Maker
    found = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        maker,
        fn_constructor_args=(order, tries),
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=order.share.cpus,
        num_gpus=order.share.gpus or None,
    )
    found.context.enable_progress_bars = False
    found.context.print_on_execution_start = False
    for row in found.iter_rows():
        yield pickle.loads(row["report"])


class Tries:
    """How often each item was begun; lives outside of the workers that may die of one."""

    def __init__(self) -> None:
        self._begun: Counter[Item] = Counter()

    def begin(self, item: Item) -> int:
        self._begun[item] += 1
        return self._begun[item]


class Maker:
    """The actor. Called with a row of the data set it makes that part for all tasks."""

    tries = 4  # of a part, before it is taken for what ends its workers

    def __init__(self, order: Order, tries: Any) -> None:
        self._order, self._begun = order, tries
        self._worker: Worker | None = None
        self._device = ""
        self._notes: list[str] = []

    def __call__(self, row: dict[str, int]) -> dict[str, bytes]:
        import ray

        item = (int(row["split"]), int(row["part"]))
        report = ActorReport(item, tries=int(ray.get(self._begun.begin.remote(item))))
        try:
            report.made = self.make(item, report.tries)
        except InputError as error:
            report.error = str(error)
        report.device, report.notes, self._notes = self._device, self._notes, []
        return {"report": pickle.dumps(report)}

    def make(self, item: Item, tries: int) -> list[Made]:
        """The parts of one item, written."""
        if tries > self.tries:
            raise InputError(
                f"part {item[1]} has ended {self.tries} workers: look into Ray's logs, give them "
                "more memory, or less work at a time with --batch-size"
            )
        if self._worker is None:
            self._worker = self._start()
        return list(self._worker.make([item]))

    def _start(self) -> Worker:
        order, (work, openings) = self._order, self._order.parcel
        _check_versions(work)
        _check_cache(work, order.probe)
        device, self._device = worker_device(order.kind, work.precision, order.share.cpus)
        return Worker(arrived(work, openings), device, note=self._note)

    def _note(self, line: str) -> None:
        self._notes.append(f"{platform.node()}: {line}")


def _check_versions(work: Work) -> None:
    """Parts of one partition come from one version of what computes them."""
    here = versions()
    there = work.tasks[0].provenance["versions"]
    for name in _SAME:
        if here[name] != there[name]:
            raise InputError(
                f"{platform.node()} has {name} {here[name]}, the driver {there[name]}: install "
                "the same on all nodes"
            )


def _check_cache(work: Work, probe: str) -> None:
    if not Store(work.root).exists(probe):
        raise InputError(
            f"the cache {work.root} on {platform.node()} is not the driver's: give --cache a "
            "folder that all nodes share, or a URI such as s3://…"
        )


def _named(work: Work, item: Item) -> str:
    source = work.sources[item[0]]
    return f"part {item[1]} of {source.dataset}/{source.split}"
