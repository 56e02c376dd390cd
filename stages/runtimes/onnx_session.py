"""Opens an ONNX file with ONNX Runtime; run as a script, tries one that nobody vouches for.

    python onnx_session.py FILE C H W BATCH BYTES

loads it and runs pictures through it, in at most so many more bytes of memory, and prints the
output's shape, and 1 where the first answer is another one beside other pictures. A graph of a few
bytes can ask for a terabyte, so this is done in a process of its own before anything else touches
the file. It imports nothing of this program.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

CPU = "CPUExecutionProvider"
OPTIMISATION = "ORT_ENABLE_ALL"
Providers = Sequence[tuple[str, Mapping[str, Any]]]
_ROUNDING = 0.01  # of the largest logit, which an int8 that rounds otherwise does not reach


def session(path: str | Path, threads: int, providers: Providers = ((CPU, {}),)) -> Any:
    """An onnxruntime.InferenceSession, which no library of operators is ever given.

    RuntimeError where it would run on another provider than the first of (name, options).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, OPTIMISATION)
    options.log_severity_level = 4  # what fails is told by its exception
    # Its threads wait for more work by turning round, which the next session's would compute on:
    # on two cores two nets in turn took 2.5 times as long.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Whatever its bytes look like: its own format would pass by the checks of the file.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    opened = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    if opened.get_providers()[0] != providers[0][0]:
        raise RuntimeError(f"{providers[0][0]} cannot be loaded: is what it needs installed?")
    return opened


def _limit(more: int) -> None:
    """Let this process have so many more bytes, where the system can limit it."""
    if sys.platform == "linux":
        import resource  # Windows has none

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))


def _try(path: str, channels: int, height: int, width: int, batch: int, more: int) -> None:
    _limit(more)
    opened = session(path, threads=1)
    shape = (batch, channels, height, width)
    pictures = np.random.default_rng(0).standard_normal(shape, np.float32)
    [logits] = opened.run(None, {opened.get_inputs()[0].name: pictures})
    pictures[1:] = 0
    [again] = opened.run(None, {opened.get_inputs()[0].name: pictures})
    apart = np.abs(again[:1] - logits[:1]).max(initial=0) > _ROUNDING * np.abs(logits[:1]).max()
    print(*logits.shape, int(apart))


if __name__ == "__main__":
    _try(sys.argv[1], *map(int, sys.argv[2:]))
