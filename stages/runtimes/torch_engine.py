"""Models as eager PyTorch modules, on whatever device torch has."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch

from cache import InputError, Provenance
from stages.runtimes.common import PRECISIONS, Stopwatch, processor
from stages.runtimes.memory import free_memory, keep_freed
from stages.runtimes.preprocess import Preprocessing
from stages.scores import answered

CPU = torch.device("cpu")


def open_device(name: str | None, precision: str = "fp32") -> torch.device:
    """The named device, else a CUDA GPU, else the CPU; TF32 is on only where it is asked for."""
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).item()  # some devices hold shapes but no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot use device {name!r} ({reason}): give --device cpu") from error
    if tf32 and device.type != "cuda":
        raise InputError(f"tf32 exists on CUDA devices only, not on {device.type}: use fp32")
    return device


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{processor()}, {torch.get_num_threads()} threads"
    return device.type


@dataclass(frozen=True)
class Runner:
    """A module in eval mode on a device."""

    module: torch.nn.Module
    preprocessing: Preprocessing
    device: torch.device
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(
        cls,
        module: torch.nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: str = "fp32",
    ) -> Runner:
        dtype = getattr(torch, PRECISIONS[precision])
        if device.type == "cpu":
            keep_freed()
        # Measured on CPUs: 1.3 to 1.6 times the throughput of the default layout for most models.
        module = module.eval().to(device, dtype).to(memory_format=torch.channels_last)
        return cls(module, preprocessing, device, dtype)

    @property
    def parameters(self) -> int:
        return sum(each.numel() for each in self.module.parameters())

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in (*self.module.parameters(), *self.module.buffers()))

    def upload(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [B, C, h, w] in host memory → the normalised input on the device."""
        return self.normalised(to_device(on_host(pixels, self.device), self.device))

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, C, h, w] on the device → the model's input."""
        batch = self.preprocessing.normalise(pixels)
        return batch.contiguous(memory_format=torch.channels_last)

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Normalised input [B, C, h, w] → float32 [B, K], both on the device."""
        with torch.inference_mode():
            return self.module(batch.to(self.dtype)).float()

    def host_logits(self, batch: torch.Tensor) -> np.ndarray:
        """float32 [n, K], on the host."""
        return self.logits(batch).cpu().numpy()

    def answers(self, batch: torch.Tensor, score: str = "maxp") -> dict[str, np.ndarray]:
        """Answers and scores of a batch on the device, on the host: what a request waits for.

        The rule's own scores, and `score` where that is a package's.
        """
        return answered(self.host_logits(batch), score)


runner_of = Runner.of


def settings(device: torch.device) -> Provenance:
    return {}


def on_host(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    host = torch.from_numpy(pixels)
    return host.pin_memory() if device.type == "cuda" else host


def to_device(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    return host.to(device, non_blocking=True)


def empty(shape: tuple[int, int], device: torch.device | str) -> torch.Tensor:
    return torch.empty(shape, device=device)


def to_numpy(array: torch.Tensor) -> np.ndarray:
    return array.cpu().numpy()


def stopwatch(device: torch.device) -> Stopwatch:
    """CUDA events on a GPU, a monotonic clock elsewhere."""
    sync = synchroniser(device)
    if device.type != "cuda":
        return Stopwatch.by_clock(sync)

    def mark() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))  # not the first GPU's
        return event

    return Stopwatch(mark, lambda start, end: start.elapsed_time(end), sync)


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Waits until the device has finished what it was given; nothing to wait for on a CPU."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)


def threads(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def on_threads(device: torch.device, count: int) -> torch.device:
    """Threads of this process that start from now on, and this one, compute so."""
    if device.type == "cpu":
        torch.set_num_threads(count)
    return device


def beside(runner: Runner) -> Runner | None:
    """A module of its own, as some keep what they see; weights are shared. None where it cannot be
    copied, and for hooks, which may keep it anywhere."""
    if any(each._forward_hooks or each._forward_pre_hooks for each in runner.module.modules()):
        return None
    tensors = [*runner.module.parameters(), *runner.module.buffers()]
    try:
        module = deepcopy(runner.module, {id(each): each for each in tensors})
    except Exception:  # of modules that hold what has no copy
        return None
    return replace(runner, module=module)


def release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    return free_memory() if device.type == "cpu" else None


def peak_memory(call: Callable[[], object], runner: Runner) -> int | None:
    """On a CUDA device; what else is resident, other models and their batches, is left out."""
    device = runner.device
    if device.type != "cuda":
        return None
    resident = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device) - resident + runner.nbytes
