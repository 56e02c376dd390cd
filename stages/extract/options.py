"""How to run an extraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cache import PART_ROWS, InputError
from stages.parallel import default_workers
from stages.runtimes import Device, Preprocessing, default_batch, engine_name, runtime_name


@dataclass(frozen=True)
class Options:
    """None of it changes which rows come out, only float noise and speed.

    `devices` are those of this machine to run on, one process each, `device` alone where empty.
    `shard` (i, n) makes the parts i, i + n, i + 2n … only. `engine` is a name of ENGINES and
    is asked for the `device_name` of the provenance where None is given. `note` is told, in a line,
    what a user should know while the run goes on.
    """

    device: Device
    precision: str = "fp32"
    batch_size: int | None = None
    part_rows: int = PART_ROWS
    workers: int | None = None
    overwrite: bool = False
    variants: tuple[str, ...] = ("identity",)
    devices: tuple[Device, ...] = ()
    shard: tuple[int, int] = (0, 1)
    engine: str = "local"
    ray_workers: int | None = None
    device_name: str | None = None
    note: Callable[[str], None] = lambda message: None

    def __post_init__(self) -> None:
        if self.engine == "ray" and self.devices:
            raise InputError("--devices are this machine's: with --engine ray give --ray-workers N")
        if engine_name(self.device) != "torch" and (self.devices or self.engine != "local"):
            raise InputError(
                f"{self.runtime} runs in this process alone: leave out --devices and --engine"
            )
        kinds = sorted({each.type for each in self.devices})
        if len(kinds) > 1:
            raise InputError(
                f"--devices are of several kinds ({', '.join(kinds)}), whose rows are not mixed: "
                "give devices of one kind"
            )
        if self.engine != "ray" and self.ray_workers is not None:
            raise InputError("--ray-workers is for --engine ray: leave it out, or give that too")

    def batch(self, seen: Preprocessing) -> int:
        """Images per forward pass of a model that sees pictures so."""
        return self.batch_size or default_batch(self.device.type, seen.size)

    @property
    def runtime(self) -> str:
        return runtime_name(self.device, self.precision)

    @property
    def decoders(self) -> int:
        """Decoding threads of each device's worker."""
        return self.workers or max(1, default_workers() // max(1, len(self.devices)))
