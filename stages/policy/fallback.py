"""What answers where B fails or is late, and calling B so that it may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.policy.format import ANSWER_OF_A


@dataclass(frozen=True)
class Fallback:
    """A's answer stands where B fails, or gives none within `timeout_ms` (None: however long)."""

    on_error: str = ANSWER_OF_A
    timeout_ms: float | None = None


class Guard:
    """Calls a model, in a thread of its own where it must answer in time.

    A call that is late goes on by itself; until it ends, others fail at once.
    """

    def __init__(self, fallback: Fallback) -> None:
        self._late: threading.Thread | None = None
        self._most = fallback.timeout_ms

    def __call__(self, model: Callable[[Any], Any], batch: Any) -> Any:
        """TimeoutError where it is late; whatever the model raises."""
        if self._most is None:
            return model(batch)
        if self._late is not None and self._late.is_alive():
            raise TimeoutError("it is still at an earlier batch")
        done: list[tuple[Any, BaseException | None]] = []

        def work() -> None:
            try:
                done.append((model(batch), None))
            except BaseException as error:  # raised where the answer is waited for
                done.append((None, error))

        thread = threading.Thread(target=work, daemon=True)  # that hangs must not keep the process
        thread.start()
        thread.join(self._most / 1e3)
        if not done:
            self._late = thread
            raise TimeoutError(f"no answer within {self._most:g} ms")
        found, error = done[0]
        if error is not None:
            raise error
        return found
