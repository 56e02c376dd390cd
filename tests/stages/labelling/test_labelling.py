"""The page that asks for labels: who may talk to it, what counts, how it ends."""

from __future__ import annotations

import http.client
import io
import time

import numpy as np
import pytest
from labelling_cases import NAMES, Pictures, page_of

from cache import InputError
from stages.labelling import LabelQuestion, ask, asking, picture


def test_from_the_first_picture_to_the_last():
    labeller = Pictures()
    with page_of(labeller) as page:
        assert page.host.startswith("127.0.0.1:")
        first = page.state()
        assert (first["sample_id"], first["choices"]) == (7, [*NAMES, "other"])
        assert first["status"] == "0 kept"
        assert page.answer(1)[1]["sample_id"] == 3
        assert labeller.kept == [(7, 1)]  # before the answer came back
        assert page.answer(None)[1]["last"] == "other"
        status, last = page.answer(0)
        assert (status, last["over"]) == (200, "No pictures are left to label")
        assert page.ended()
    assert labeller.kept == [(7, 1), (3, None), (5, 0)]
    assert page.said[-1] == "No pictures are left to label: 3 pictures labelled"


def test_an_answer_is_taken_back():
    labeller = Pictures()
    with page_of(labeller) as page:
        assert page.post("undo", turn=0)[1]["note"] == "There is no answer to take back."
        page.answer(2)
        now = page.post("undo", turn=1)[1]
        assert (now["sample_id"], now["labelled"], labeller.kept) == (7, 0, [])
        page.answer(0)
        assert labeller.kept == [(7, 0)]


def test_two_clicks_are_one_answer():
    labeller = Pictures()
    with page_of(labeller) as page:
        for _ in range(2):
            assert page.answer(1, turn=0, sample=7)[0] == 200
        assert labeller.kept == [(7, 1)]
        assert page.state()["sample_id"] == 3


@pytest.mark.parametrize(
    ("turn", "sample", "index"),
    [
        (0, 3, 0),
        (1, 7, 0),
        (-1, 7, 0),
        (0, 7, 3),
        (0, 7, -1),
        (0, 7, True),
        (0, 7, "1"),
        (0, 7, 0.0),
    ],
)
def test_what_was_not_asked_is_refused(turn, sample, index):
    labeller = Pictures()
    with page_of(labeller) as page:
        status, told = page.answer(index, turn, sample)
        assert status == 400
        assert told["error"]
        assert labeller.kept == []
        assert page.state()["sample_id"] == 7


OUTSIDERS = {
    "token": {"token": "x" * 32},
    "Host": {"Host": "evil.example"},
    "Origin": {"Origin": "http://evil.example"},
}


@pytest.mark.parametrize("wrong", OUTSIDERS)
def test_no_other_page_may_ask_or_answer(wrong):
    labeller = Pictures()
    with page_of(labeller) as page:
        body = {"turn": 0, "sample_id": 7, "index": 0}
        for method, path in (("GET", "label"), ("GET", "state"), ("GET", "picture/0")):
            assert page.send(method, path, **OUTSIDERS[wrong])[0] == 403
        for path in ("answer", "undo", "stop"):
            status, _, data = page.send("POST", path, body, **OUTSIDERS[wrong])
            assert (status, f"wrong {wrong}" in data.decode()) == (403, True)
        assert page.send("POST", "answer", body, Origin=None)[0] == 403
        assert page.send("POST", "answer", body, Content_Type="text/plain")[0] == 400
        assert (labeller.kept, page.state()["sample_id"]) == ([], 7)


def test_nothing_is_loaded_from_elsewhere_and_nothing_else_is_served():
    with page_of(Pictures()) as page:
        for path in ("label", "page.js", "page.css"):
            status, headers, data = page.send("GET", path)
            assert status == 200
            assert b"http" not in data.replace(b"http://www.w3.org", b"")
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.send("GET", "picture/0")[2] == picture(np.full((4, 4), 7, np.uint8))
        for path in ("picture/1", "picture/x", "../pyproject.toml", "page.html", ""):
            assert page.send("GET", path)[0] == 404
        assert page.send("POST", "answer", {"turn": 0, "more": "x" * 2000})[0] == 400


def test_what_fails_is_told_on_the_page_and_raised():
    with page_of(Pictures(fails=True)) as page:
        status, told = page.answer(0)
        assert (status, told["note"]) == (500, "the disk is full: make room")
        assert page.ended()
    assert [str(error) for error in page.raised] == ["the disk is full: make room"]


def test_it_closes_where_the_page_is_closed_and_not_where_it_is_reloaded(monkeypatch):
    monkeypatch.setattr(asking, "AWAY_S", 0.6)
    labeller = Pictures()
    with page_of(labeller) as page:
        time.sleep(1.0)  # no page was there yet
        for _ in range(2):
            stream = _stream(page)
            time.sleep(0.2)
            stream.close()
        assert page.thread.is_alive()
        assert page.ended()
    assert page.said[-1] == "The page was closed: 0 pictures labelled"


def _stream(page):
    """The events of an open page."""
    connection = http.client.HTTPConnection(page.host, timeout=10)
    connection.request("GET", f"/{page.token}/alive", headers={"Host": page.host})
    assert connection.getresponse().status == 200
    return connection


def test_nothing_to_ask_opens_no_page():
    said = []
    ask(Pictures(left=[]), open_browser=False, say=said.append)
    assert said == ["No pictures are left to label: 0 pictures labelled"]


def test_a_port_that_cannot_be_had_is_one_line():
    with page_of(Pictures()) as page, pytest.raises(InputError, match="cannot be had"):
        ask(Pictures(), open_browser=False, port=int(page.host.split(":")[1]), say=print)


@pytest.mark.parametrize("shape", [(5, 7), (6, 4, 3)])
def test_a_picture_is_what_pillow_reads(shape):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    found = np.asarray(image.open(io.BytesIO(picture(pixels))))
    assert found.tolist() == pixels.tolist()


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros(0, np.uint8)]
)
def test_what_is_no_picture_is_refused(array):
    with pytest.raises(ValueError, match="no picture"):
        picture(array)


def test_answers_differ():
    for answers in ((), ("a", "a")):
        with pytest.raises(ValueError, match="different answers"):
            LabelQuestion(sample_id=1, key="", picture=None, answers=answers)
