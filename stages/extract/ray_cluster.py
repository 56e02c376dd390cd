"""A Ray cluster: reaching it, what of it a worker gets, and what its devices are called."""

from __future__ import annotations

import io
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TextIO

from cache import InputError, one_of
from stages.runtimes import PRECISIONS, Device, device_name, open_device

ADDRESS = "RAY_ADDRESS"
_DEVICES = ("cpu", "cuda")
_ANSWER_S = 10.0
# Only records of parts travel; this is the least that Ray accepts, and a little more.
_OBJECT_STORE_BYTES = 1 << 27
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning for each CPU worker
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


@dataclass(frozen=True)
class Share:
    """How many workers a cluster takes, and the CPUs and GPUs of each."""

    workers: int
    cpus: int
    gpus: int


@contextmanager
def connected(note: Callable[[str], None]) -> Iterator[None]:
    """The cluster at $RAY_ADDRESS, else one of this machine alone that ends with the block.

    Within another block, or where the caller has called `ray.init`, that connection is used.
    """
    if find_spec("ray") is None or find_spec("pandas") is None:
        raise InputError("the engine ray is not installed: run pip install 'cascade-cli[ray]'")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    with redirect_stdout(_OwnThread(sys.stdout)):
        if ray.is_initialized():
            yield
            return
        address = os.environ.get(ADDRESS, "local")
        if address == "local":
            note(f"Ray runs on this machine alone: set ${ADDRESS} to use a cluster")
        with _no_stderr():  # its backend tells that it was told to be quiet
            _connect(address)
        try:
            yield
        finally:
            with redirect_stdout(io.StringIO()):  # its last words, which it holds back till now
                ray.shutdown()


def share(device: Device, wanted: int | None) -> Share:
    """The workers of a run on this kind of device: as many as wanted, else one per GPU or node.

    InputError where the cluster has not as many GPUs or CPUs.
    """
    gpu = device.type == "cuda"
    kind = "GPU" if gpu else "CPU"
    nodes = [node for node in _nodes() if node.get(kind, 0) >= 1]
    units = int(sum(int(node[kind]) for node in nodes))
    if not nodes:
        raise InputError(f"the Ray cluster has no {kind}: give another --device, or add nodes")
    workers = wanted or (units if gpu else len(nodes))
    if workers > units:
        raise InputError(
            f"the Ray cluster has {units} {kind}s for {workers} workers: give --ray-workers "
            f"{units} or less"
        )
    if gpu:
        return Share(workers, int(min(node.get("CPU", 0) // node["GPU"] for node in nodes)), 1)
    each = -(-workers // len(nodes))
    return Share(workers, max(1, int(min(node["CPU"] for node in nodes)) // each), 0)


def open_cluster_device(name: str | None, precision: str = "fp32", engine: str = "torch") -> Device:
    """The kind of device the cluster's workers run on; this machine need not have one."""
    if engine != "torch":
        raise one_of("runtime of a Ray cluster", engine, ["torch"])
    if name is None:
        name = "cuda" if any(node.get("GPU", 0) >= 1 for node in _nodes()) else "cpu"
    kind = name.partition(":")[0]
    if kind not in _DEVICES:
        raise one_of("device of a Ray cluster", name, _DEVICES)
    if precision not in PRECISIONS:
        raise one_of("precision", precision, PRECISIONS)
    if precision == "tf32" and kind != "cuda":
        raise InputError(f"tf32 exists on CUDA devices only, not on {kind}: use fp32")
    import torch  # which other engines do without

    return torch.device(kind)


def cluster_device_name(device: Device, workers: int | None) -> str:
    """What one of so many workers calls its device; it says what InputError it meets."""
    import ray

    each = share(device, workers)
    ask = ray.remote(num_cpus=each.cpus, num_gpus=each.gpus)(worker_device)
    try:
        return str(ray.get(ask.remote(device.type, "fp32", each.cpus))[1])
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from error
        raise InputError(
            f"a worker of the Ray cluster cannot start ({str(error).splitlines()[-1]}): install "
            "cascade-cli[extract,ray] of the same version on every node"
        ) from error


def worker_device(kind: str, precision: str, threads: int) -> tuple[Device, str]:
    """The device of the process that calls it, a Ray worker, and its name."""
    import torch  # likewise

    torch.set_num_threads(max(1, threads))
    device = open_device("cuda:0" if kind == "cuda" else kind, precision)
    return device, device_name(device)


def _connect(address: str) -> None:
    import ray

    join = partial(ray.init, address, log_to_driver=False, logging_level=logging.ERROR)
    if address == "local":
        join = partial(join, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES)
    try:
        _knock(address)
        join()
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(
            f"no Ray cluster for us at {address!r} ({_first_line(error)}): check ${ADDRESS}, and "
            "where the cluster asks for a token also $RAY_AUTH_MODE=token and the token"
        ) from error


def _knock(address: str) -> None:
    """OSError where nobody listens at host:port; Ray itself would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\]]+)\]?:(\d+)", address)
    if found:
        socket.create_connection((found[1], int(found[2])), timeout=_ANSWER_S).close()


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing reaches the terminal, from whatever language it is written."""
    sys.stderr.flush()
    usual, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(usual, 2)
        os.close(usual)
        os.close(nowhere)


def _nodes() -> list[dict[str, float]]:
    """The resources of each node."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _OwnThread(io.TextIOBase):
    """What the thread that made it prints; Ray's own tell of lost workers on stdout."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
