"""Where workers run: in this process, in a process per device, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from cache import one_of
from stages.extract import processes, ray_cluster, ray_engine
from stages.extract.options import Options
from stages.extract.ray_cluster import cluster_device_name
from stages.extract.work import Made, Work
from stages.extract.worker import Loaded, Worker
from stages.runtimes import Device, device_name, open_device

Note = Callable[[str], None]
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Engine:
    """`make` yields the parts as they are written, and may take what the driver has loaded.

    `open_device` is as that of stages.runtimes; `device_name` is what the workers call theirs. All
    three are called within `ready`.
    """

    make: Callable[[Work, Options, Loaded, Tell], Generator[Made, None, None]]
    ready: Callable[[Note], AbstractContextManager[None]]
    open_device: Callable[..., Device]
    device_name: Callable[[Options], str]


def engine(name: str) -> Engine:
    """One of ENGINES; InputError for another name."""
    if name not in ENGINES:
        raise one_of("engine", name, ENGINES)
    return ENGINES[name]


def _local(work: Work, options: Options, loaded: Loaded, tell: Tell) -> Generator[Made, None, None]:
    """One worker in this process, or one process per device."""
    if len(options.devices) > 1:
        return processes.run(work, options, tell)
    device = options.devices[0] if options.devices else None
    return Worker(work, device, loaded, options.note, tell).make(work.items())


def _ray(work: Work, options: Options, loaded: Loaded, tell: Tell) -> Generator[Made, None, None]:
    """Workers on a Ray cluster."""
    loaded.modules.clear()
    return ray_engine.run(work, options, tell)


ENGINES: Mapping[str, Engine] = {
    "local": Engine(
        make=_local,
        ready=lambda note: nullcontext(),
        open_device=open_device,
        device_name=lambda options: device_name(options.device),
    ),
    "ray": Engine(
        make=_ray,
        ready=ray_cluster.connected,
        open_device=ray_cluster.open_cluster_device,
        device_name=lambda options: cluster_device_name(options.device, options.ray_workers),
    ),
}
