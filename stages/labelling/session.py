"""Whose turn it is: a labeller and a page that may click twice, be reloaded, or vanish.

Each question that is shown has a turn, counted from 0. An answer says which turn it is for, so that
the second of two clicks, or a click in a tab left behind, changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cache import InputError
from stages.labelling.question import OTHER, Labeller, LabelQuestion

DONE = "No pictures are left to label"
STOPPED = "Stopped"
CLOSED = "The page was closed"
FAILED = "Something failed"
NO_UNDO = "There is no answer to take back."


class AnswerError(Exception):
    """An answer that was not asked for."""


@dataclass(frozen=True)
class PageState:
    """What the page shows: the open question, if any, as choices with `other` last; `labelled`
    pictures so far, `last` the latest answer, "" without one; `over` says why there is no more to
    ask, "" before; `note` tells of what did not work."""

    turn: int
    sample_id: int | None
    key: str
    choices: tuple[str, ...]
    has_picture: bool
    status: str
    labelled: int
    last: str
    note: str
    over: str


class LabelSession:
    """Hands on answers, one at a time. `over` is set when no more are taken; `error` is what the
    labeller raised."""

    def __init__(self, labeller: Labeller) -> None:
        self.over = threading.Event()
        self.error: Exception | None = None
        self._labeller, self._lock = labeller, threading.RLock()
        self._asked: list[int] = []  # the sample of each turn
        self._given: list[str] = []
        self._question: LabelQuestion | None = None
        self._status = self._note = self._why = ""
        self._pages, self._seen_at = 0, float("inf")
        with self._step():
            self._put(labeller.next_question())

    def state(self) -> PageState:
        with self._lock:
            shown = self._question
            return PageState(
                turn=len(self._asked) - 1,
                sample_id=shown.sample_id if shown else None,
                key=shown.key if shown else "",
                choices=shown.choices if shown else (),
                has_picture=shown is not None and shown.picture is not None,
                status=self._status,
                labelled=len(self._given),
                last=self._given[-1] if self._given else "",
                note=self._note,
                over=self._why,
            )

    def picture(self, turn: int) -> bytes | None:
        """The PNG of the open question; None where another is open by now."""
        with self._lock:
            return self._question.picture if self._question and self._open(turn) else None

    def answer(self, turn: int, sample_id: int, index: int | None) -> PageState:
        """Hands on the answer to a turn; AnswerError where it was not asked, or has no such index.
        One that comes late counts no second time."""
        with self._lock:
            if not 0 <= turn < len(self._asked) or self._asked[turn] != sample_id:
                raise AnswerError(f"sample {sample_id} is not asked in turn {turn}")
            if self._question and self._open(turn):
                given = _named(self._question, index)
                with self._step():
                    self._labeller.answered(sample_id, index)
                    self._given.append(given)
                    self._put(self._labeller.next_question())
            return self.state()

    def undo(self, turn: int) -> PageState:
        """Asks the last answer again; says so where there is none."""
        with self._lock:
            if self._open(turn):
                with self._step():
                    self._take_back()
            return self.state()

    def end(self, why: str) -> PageState:
        """Takes no more answers; the first reason stands."""
        with self._lock:
            if not self.over.is_set():
                with self._step():
                    self._finish(why)
            return self.state()

    def fail(self, error: Exception) -> None:
        """Ends with an error, which `ask` raises."""
        with self._lock:
            self.error = self.error or error
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            self._note = f"{kind}{error}"
            self._finish(FAILED)
            self.over.set()

    @contextmanager
    def page(self) -> Iterator[None]:
        """While a page is there."""
        self._count(+1)
        try:
            yield
        finally:
            self._count(-1)

    def away_s(self) -> float:
        """Seconds since the last page left; at most 0 while one is there or none was yet."""
        with self._lock:
            return 0.0 if self._pages else time.monotonic() - self._seen_at

    def summary(self) -> str:
        """How it ended, and how much was labelled."""
        state = self.state()
        pictures = "1 picture" if state.labelled == 1 else f"{state.labelled} pictures"
        return f"{state.over}: {pictures} labelled"

    def _open(self, turn: int) -> bool:
        return turn == len(self._asked) - 1 and not self.over.is_set()

    @contextmanager
    def _step(self) -> Iterator[None]:
        """One exchange with the labeller, whose status may change by it."""
        self._note = ""
        try:
            yield
            self._status = self._labeller.status()
        except Exception as error:
            self.fail(error)
        if self._why:  # last, so that who waits for it finds the final state
            self.over.set()

    def _put(self, question: LabelQuestion | None) -> None:
        if question is None:
            self._finish(DONE)
        else:
            self._question = question
            self._asked.append(question.sample_id)

    def _take_back(self) -> None:
        question = self._labeller.undo()
        if question is None:
            self._note = NO_UNDO
            return
        del self._given[-1:]  # it may be an answer of an earlier session
        self._put(question)

    def _finish(self, why: str) -> None:
        self._question, self._why = None, why

    def _count(self, change: int) -> None:
        with self._lock:
            self._pages += change
            self._seen_at = time.monotonic()


def _named(question: LabelQuestion, index: int | None) -> str:
    if index is None:
        return OTHER
    if not 0 <= index < len(question.answers):
        raise AnswerError(f"answer {index} is not among 0 to {len(question.answers) - 1}")
    return question.answers[index]
