"""An ONNX file that was checked, and the trial that one from elsewhere passes before it is used."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cache import InputError

TRIAL_S = 300
# Beside the file's own size; a picture's, and the most for those of a fixed batch.
_TRIAL_BYTES, _PICTURE_BYTES, _BATCH_BYTES = 1 << 31, 1 << 26, 1 << 33


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
        batch = self.largest or max(self.smallest, 2)
        more = _TRIAL_BYTES + 4 * self.nbytes + min(_PICTURE_BYTES * batch, _BATCH_BYTES)
        given = [self.path.absolute(), *self.shape, batch, more]
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
        *shape, mixed = done.stdout.split()
        if shape != [str(batch), str(self.classes)]:
            raise self._refused(f"its output has the shape {' '.join(shape)}")
        if mixed != "0":
            raise self._refused("what it answers depends on the other pictures of the batch")
        return self

    def _refused(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} does not run on ONNX Runtime ({reason}): export a plain classifier again"
        )
