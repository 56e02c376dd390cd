"""A worker process for each of several devices of this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from queue import Empty
from typing import Any

from cache import InputError
from stages.extract.options import Options
from stages.extract.portable import Parcel, arrived, portable
from stages.extract.work import Made, Work
from stages.extract.worker import Worker
from stages.runtimes import open_device

_POLL_S = 1.0


def run(work: Work, options: Options, tell: Callable[[int], None]) -> Generator[Made, None, None]:
    """The parts that `work` lacks, each made by whichever process is free.

    InputError for what a worker refuses, and where one was killed.
    """
    context = multiprocessing.get_context("spawn")
    items: Any = context.Queue()
    reports: Any = context.Queue()
    for item in work.items() + [None] * len(options.devices):  # type: ignore[list-item]
        items.put(item)
    import torch  # which other engines do without

    threads = max(1, torch.get_num_threads() // len(options.devices))
    given = [(portable(work), str(device), threads, items, reports) for device in options.devices]
    processes = [context.Process(target=_serve, args=each, daemon=True) for each in given]
    with _deaf():
        for process in processes:
            process.start()
    told: dict[str, Callable[..., None]] = {"images": tell, "note": options.note}
    at_work = len(processes)
    try:
        while at_work:
            try:
                kind, value = reports.get(timeout=_POLL_S)
            except Empty:
                _check(processes)
                continue
            if kind == "error":
                raise value
            if kind == "made":
                yield value
            elif kind == "done":
                at_work -= 1
            else:
                told[kind](value)
    finally:
        for process in processes:
            if at_work:
                process.terminate()
            process.join()


def _check(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        if process.exitcode not in (None, 0):
            raise InputError(
                f"a worker process {_ended(process.exitcode)}: run the same command again, it "
                "resumes"
            )


def _serve(parcel: Parcel, device: str, threads: int, items: Any, reports: Any) -> None:
    """The body of a worker process."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import torch  # likewise

    torch.set_num_threads(threads)
    try:
        work = arrived(*parcel)
        worker = Worker(
            work,
            open_device(device, work.precision),
            note=lambda message: reports.put(("note", message)),
            progress=lambda images: reports.put(("images", images)),
        )
        for made in worker.make(iter(items.get, None)):
            reports.put(("made", made))
        reports.put(("done", None))
    except BaseException as error:
        reports.put(("error", error if isinstance(error, InputError) else _told(error)))


def _told(error: BaseException) -> RuntimeError:
    return RuntimeError(f"in a worker process: {type(error).__name__}: {error}")


def _ended(code: int | None) -> str:
    """How a process ended, from its exit code."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}" + (
        " (out of memory?)" if -code == signal.SIGKILL else ""
    )


def _die_with_parent() -> None:
    """A driver that is killed cannot end its workers, and its locks are gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C, which the terminal sends to all: we end them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
