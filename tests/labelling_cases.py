"""A labeller of three pictures, and what a browser would send to its page."""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from cache import InputError
from stages.labelling import LabelQuestion, ask, picture

NAMES = ("cat", "dog", "owl")


@dataclass
class Pictures:
    """Asks for `left` samples, and keeps what it is told."""

    left: list[int] = field(default_factory=lambda: [7, 3, 5])
    kept: list[tuple[int, int | None]] = field(default_factory=list)
    fails: bool = False

    def next_question(self):
        return self._question(self.left[0]) if self.left else None

    def answered(self, sample_id, index):
        if self.fails:
            raise InputError("the disk is full: make room")
        self.kept.append((sample_id, index))
        self.left.remove(sample_id)

    def undo(self):
        if not self.kept:
            return None
        sample, _ = self.kept.pop()
        self.left.insert(0, sample)
        return self._question(sample)

    def status(self):
        return f"{len(self.kept)} kept"

    def _question(self, sample):
        shown = picture(np.full((4, 4), sample, np.uint8))
        return LabelQuestion(sample_id=sample, key=f"{sample}.png", picture=shown, answers=NAMES)


@dataclass
class Page:
    """What a browser would send."""

    host: str
    token: str
    thread: threading.Thread
    said: list[str]

    def send(self, method, path, body=None, token=None, **headers):
        """(status, headers, body)."""
        own = {"Host": self.host, "Origin": f"http://{self.host}"}
        own |= {"Content-Type": "application/json"} if method == "POST" else {}
        sent = {name.replace("_", "-"): value for name, value in (own | headers).items() if value}
        connection = http.client.HTTPConnection(self.host, timeout=10)
        connection.request(
            method,
            f"/{token or self.token}/{path}",
            None if body is None else json.dumps(body),
            sent,
        )
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.headers, data

    def state(self):
        return json.loads(self.send("GET", "state")[2])

    def post(self, name, **body):
        status, _, data = self.send("POST", name, body)
        return status, json.loads(data)

    def answer(self, index, turn=None, sample=None):
        now = self.state()
        turn = now["turn"] if turn is None else turn
        sample = now["sample_id"] if sample is None else sample
        return self.post("answer", turn=turn, sample_id=sample, index=index)

    def ended(self):
        self.thread.join(10)
        return not self.thread.is_alive()


@contextmanager
def page_of(labeller):
    said, raised = [], []

    def run():
        try:
            ask(labeller, open_browser=False, say=said.append)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 10
    while not said and time.monotonic() < until:
        time.sleep(0.01)
    address = urlsplit(said[0].split()[4])
    page = Page(address.netloc, address.path.split("/")[1], thread, said)
    page.raised = raised
    yield page
    if thread.is_alive():
        page.post("stop")
    assert page.ended()
