"""A labeller that keeps all it is told, and its page served in a thread."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Queue

import numpy as np

from stages.labelling import LabelQuestion, ask, picture

ANSWERS = ("cat", "dog")


class ListLabeller:
    """Asks samples 10, 11, …; `log` has every call in order, `breaks` what a call raises."""

    def __init__(
        self,
        n: int = 3,
        answers: tuple[str, ...] = ANSWERS,
        shape: tuple[int, int] | None = (8, 8),
    ) -> None:
        self.n, self.answers, self.shape = n, answers, shape
        self.labels: list[tuple[int, int | None]] = []
        self.log: list[object] = []
        self.breaks: dict[str, Exception] = {}

    def next_question(self) -> LabelQuestion | None:
        self._called("next")
        return self._question() if len(self.labels) < self.n else None

    def answered(self, sample_id: int, index: int | None) -> None:
        self._called("answered", sample_id, index)
        self.labels.append((sample_id, index))

    def undo(self) -> LabelQuestion | None:
        self._called("undo")
        if not self.labels:
            return None
        self.labels.pop()
        return self._question()

    def status(self) -> str:
        self._called("status")
        return f"{self.n - len(self.labels)} to go"

    def _called(self, name: str, *values: object) -> None:
        self.log.append((name, *values))
        if name in self.breaks:
            raise self.breaks[name]

    def _question(self) -> LabelQuestion:
        place = len(self.labels)
        pixels = self.shape and np.full(self.shape, 40 * place, np.uint8)
        png = None if pixels is None else picture(pixels)
        return LabelQuestion(10 + place, f"pets/{place}.png", png, self.answers)


@dataclass
class Reply:
    status: int
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass
class Page:
    """An open page: `said` is what the terminal shows, `raised` what `ask` raised."""

    thread: threading.Thread
    said: Queue = field(default_factory=Queue)
    raised: list[Exception] = field(default_factory=list)
    address: str = ""

    @property
    def host(self) -> str:
        return self.address.split("/")[2]

    @property
    def token(self) -> str:
        return self.address.split("/")[3]

    def get(self, name: str, **headers: str) -> Reply:
        return self.send("GET", f"/{self.token}/{name}", None, headers)

    def post(self, name: str, body: object = None, **headers: str) -> Reply:
        """As the page does it, but for `headers`."""
        own = {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        text = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self.send("POST", f"/{self.token}/{name}", text, own | headers)

    def answer(self, turn: object, sample_id: object, index: object) -> Reply:
        return self.post("answer", {"turn": turn, "sample_id": sample_id, "index": index})

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        line = http.client.HTTPConnection(self.host, timeout=20)
        try:
            line.request(method, path, body, {k: v for k, v in headers.items() if v})
            reply = line.getresponse()
            return Reply(reply.status, reply.read(), reply.headers)
        finally:
            line.close()

    def closed(self) -> str:
        """Waits until `ask` has returned; its last words."""
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.said.get_nowait()


@contextmanager
def asking(labeller: ListLabeller, **options: object) -> Iterator[Page]:
    """`ask` in a thread; the page is stopped at the end."""

    def run() -> None:
        try:
            ask(labeller, open_browser=False, say=page.said.put, **options)
        except Exception as error:
            page.raised.append(error)

    page = Page(threading.Thread(target=run))
    page.thread.start()
    said = page.said.get(timeout=20)
    page.address = next(word for word in said.split() if word.startswith("http://"))
    try:
        yield page
    finally:
        if page.thread.is_alive():
            with suppress(OSError):  # it may be closing already
                page.post("stop")
            page.thread.join(20)
