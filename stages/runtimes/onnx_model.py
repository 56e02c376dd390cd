"""An ONNX file that was checked, and the trial that one from elsewhere passes before it is used."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cache import InputError

TRIAL_S = 300
_TRIAL_BYTES, _PICTURE_BYTES = 1 << 31, 1 << 26  # beside the file's own size


@dataclass(frozen=True)
class OnnxModel:
    """A classifier's file: `shape` is (C, H, W) of its one input, `smallest` and `largest` its
    batch (None: without end), `classes` the length of its output's rows, `external` the files
    beside it that hold tensors, `nbytes` the size of all, and `quantised` whether it computes with
    int8."""

    path: Path
    shape: tuple[int, int, int]
    smallest: int
    largest: int | None
    classes: int
    parameters: int
    nbytes: int
    external: tuple[Path, ...] = ()
    quantised: bool = False

    def tried(self) -> OnnxModel:
        """The model itself, once it has run in a process with limited memory and time.

        InputError where it did not, or gave something else than logits.
        """
        more = _TRIAL_BYTES + 4 * self.nbytes + _PICTURE_BYTES * self.smallest
        given = [self.path.absolute(), *self.shape, self.smallest, more]
        script = Path(__file__).with_name("onnx_session.py")
        # -P: what lies beside the script is not taken for packages of the same names.
        line = [sys.executable, "-P", str(script), *map(str, given)]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=TRIAL_S)
        except subprocess.TimeoutExpired as error:
            raise self._refused(f"it took more than {TRIAL_S} s") from error
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:300]
            raise self._refused(f"{reason}; it had {more >> 20} MiB")
        if done.stdout.split() != [str(self.smallest), str(self.classes)]:
            raise self._refused(f"its output has the shape {done.stdout.strip()}")
        return self

    def _refused(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} does not run on ONNX Runtime ({reason}): export a plain classifier again"
        )
