"""Where workers run. An engine takes the work and yields its parts as they are written."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from queue import Empty
from typing import Any

import torch

from cache import InputError
from stages.datasets import Opening, fingerprint
from stages.extract.options import Options
from stages.extract.work import Item, Made, Work
from stages.extract.worker import Loaded, Worker

Tell = Callable[[int], None]
Engine = Callable[[Work, Options, Loaded, Tell], Iterator[Made]]
_POLL_S = 1.0


def local(work: Work, options: Options, loaded: Loaded, tell: Tell) -> Iterator[Made]:
    """One worker in this process, or one process per device."""
    if len(options.devices) > 1:
        return _processes(work, options, tell)
    device = options.devices[0] if options.devices else options.device
    return Worker(work, device, loaded, options.note, tell).make(work.items())


def ray(work: Work, options: Options, loaded: Loaded, tell: Tell) -> Iterator[Made]:
    """Workers on a Ray cluster."""
    loaded.modules.clear()
    from stages.extract.ray_engine import run

    return run(work, options, tell)


ENGINES: Mapping[str, Engine] = {"local": local, "ray": ray}


def portable(work: Work) -> tuple[Work, tuple[Opening, ...]]:
    """The work without its sources, and how another process opens them."""
    openings = []
    for source in work.sources:
        if source.opening is None:
            raise ValueError(f"{source.dataset}/{source.split} was not opened from files")
        openings.append(source.opening)
    return replace(work, sources=()), tuple(openings)


def arrived(work: Work, openings: tuple[Opening, ...]) -> Work:
    """The work with its sources opened here; InputError where other images lie here."""
    sources = tuple(opening.open() for opening in openings)
    for split, source in enumerate(sources):
        wanted = {t.identity["dataset_fingerprint"] for t in work.tasks if t.split == split}
        if wanted - {fingerprint(source)}:
            raise InputError(
                f"{source.dataset}/{source.split} has other images on this worker than on the "
                "driver: give all of them the same --data"
            )
    return replace(work, sources=sources)


def _processes(work: Work, options: Options, tell: Tell) -> Iterator[Made]:
    """A process per device; each takes the next part when it can."""
    context = multiprocessing.get_context("spawn")
    items: Any = context.Queue()
    reports: Any = context.Queue()
    for item in work.items() + [None] * len(options.devices):  # type: ignore[list-item]
        items.put(item)
    threads = max(1, torch.get_num_threads() // len(options.devices))
    processes = [
        context.Process(
            target=_serve, args=(*portable(work), device, threads, items, reports), daemon=True
        )
        for device in options.devices
    ]
    for process in processes:
        process.start()
    with closing(_Reports(reports, processes)) as incoming:
        for kind, value in incoming:
            if kind == "made":
                yield value
            elif kind == "images":
                tell(value)
            elif kind == "note":
                options.note(value)
            elif kind == "error":
                raise value


class _Reports:
    """What the processes say, until all have said that they are done."""

    def __init__(self, queue: Any, processes: list[SpawnProcess]) -> None:
        self._queue, self._processes, self._done = queue, processes, 0

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        while self._done < len(self._processes):
            try:
                kind, value = self._queue.get(timeout=_POLL_S)
            except Empty:
                self._check()
                continue
            self._done += kind == "done"
            yield kind, value

    def _check(self) -> None:
        for process in self._processes:
            if process.exitcode not in (None, 0):
                raise InputError(
                    f"a worker process ended with exit code {process.exitcode}: run the same "
                    "command again, it resumes"
                )

    def close(self) -> None:
        for process in self._processes:
            if self._done < len(self._processes):
                process.terminate()
            process.join()


def _serve(
    work: Work,
    openings: tuple[Opening, ...],
    device: torch.device,
    threads: int,
    items: Any,
    reports: Any,
) -> None:
    """The body of a worker process."""
    torch.set_num_threads(threads)
    try:
        worker = Worker(
            arrived(work, openings),
            device,
            note=lambda message: reports.put(("note", message)),
            progress=lambda images: reports.put(("images", images)),
        )
        queue: Iterator[Item] = iter(items.get, None)
        for made in worker.make(queue):
            reports.put(("made", made))
        reports.put(("done", None))
    except BaseException as error:
        reports.put(("error", error if isinstance(error, InputError) else _told(error)))


def _told(error: BaseException) -> RuntimeError:
    return RuntimeError(f"in a worker process: {type(error).__name__}: {error}")
