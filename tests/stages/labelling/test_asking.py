"""The page's server, spoken to over HTTP, against what a labeller was told."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import threading
import time
import webbrowser

import numpy as np
import pytest
from labelling_page import ListLabeller, asking
from PIL import Image

from cache import InputError
from stages.labelling import LabelQuestion, ask, asking as opening, server

FORGED = "http://evil.example"


@pytest.fixture
def labeller():
    return ListLabeller()


@pytest.fixture
def page(labeller):
    with asking(labeller) as opened:
        yield opened


@pytest.fixture
def quick(monkeypatch):
    """Misses a page after 0.5 s instead of 10."""
    monkeypatch.setattr(opening, "AWAY_S", 0.5)
    monkeypatch.setattr(server, "BEAT_S", 0.02)


@pytest.fixture
def alive():
    """Opens a page's event stream."""
    lines = []

    def opened(page):
        line = http.client.HTTPConnection(page.host, timeout=20)
        lines.append(line)
        line.request("GET", f"/{page.token}/alive")
        return line.getresponse()

    yield opened
    for line in lines:
        line.close()


def test_questions_to_the_last(labeller, page):
    first = page.get("state").json
    shown = {"turn": 0, "sample_id": 10, "key": "pets/0.png", "choices": ["cat", "dog", "other"]}
    rest = {"has_picture": True, "status": "3 to go", "labelled": 0}
    assert first == shown | rest | {"last": "", "note": "", "over": ""}
    second = page.answer(0, 10, 1).json
    assert labeller.labels == [(10, 1)]
    assert (second["turn"], second["sample_id"], second["last"]) == (1, 11, "dog")
    assert page.answer(1, 11, None).json["last"] == "other"
    last = page.answer(2, 12, 0).json
    assert (last["sample_id"], last["choices"], last["labelled"]) == (None, [], 3)
    assert (last["over"], last["status"]) == ("No pictures are left to label", "0 to go")
    assert page.closed() == "No pictures are left to label: 3 pictures labelled"
    assert labeller.labels == [(10, 1), (11, None), (12, 0)]
    assert page.raised == []
    with pytest.raises(ConnectionRefusedError):
        page.get("state")


def test_the_answer_is_kept_before_the_reply(labeller, page):
    page.answer(0, 10, 0)
    calls = [each[0] for each in labeller.log]
    assert calls == ["next", "status", "answered", "next", "status"]
    assert labeller.log[2] == ("answered", 10, 0)


def test_pictures_are_of_the_open_question(page):
    for turn in range(2):
        shown = page.get(f"picture/{turn}")
        pixels = np.asarray(Image.open(io.BytesIO(shown.body)))
        assert (pixels == 40 * turn).all()
        assert shown.headers["Content-Type"] == "image/png"
        page.answer(turn, 10 + turn, 0)
    for turn in ("0", "3", "-1", "x", "9" * 5000, ""):
        assert page.get(f"picture/{turn}").status == 404


def test_without_a_picture():
    with asking(ListLabeller(shape=None)) as page:
        assert page.get("state").json["has_picture"] is False
        assert page.get("picture/0").status == 404


@pytest.mark.parametrize("name", ["label", "page.css", "page.js", "state"])
def test_every_reply_is_locked_down(page, name):
    reply = page.get(name)
    assert reply.status == 200
    assert b"http" not in reply.body
    rules = dict(
        each.split(" ", 1) for each in reply.headers["Content-Security-Policy"].split("; ")
    )
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert not {"unsafe", "http"} & {*" ".join(rules.values()).replace("-", " ").split()}
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("token", ["", "x", "tökén".encode().decode("latin-1")])
@pytest.mark.parametrize("name", ["label", "page.js", "state", "picture/0", "alive", "nothing"])
def test_a_wrong_token_gets_nothing(page, token, name):
    path = f"/{token}/{name}".encode("latin-1")
    with socket.create_connection(page.host.split(":"), timeout=20) as line:
        line.sendall(b"GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" % (path, page.host.encode()))
        reply = http.client.HTTPResponse(line)
        reply.begin()
        assert reply.status == 403
        assert b"wrong token" in reply.read()


def test_a_wrong_token_answers_nothing(labeller, page):
    body = json.dumps({"turn": 0, "sample_id": 10, "index": 0}).encode()
    own = {"Origin": f"http://{page.host}", "Content-Type": "application/json"}
    for token in (page.token[:-1], page.token + "x", page.token.swapcase()):
        for name in ("answer", "undo", "stop"):
            assert page.send("POST", f"/{token}/{name}", body, own).status == 403
    assert page.get("state").json["over"] == ""
    assert labeller.labels == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "[::1]:80"])
def test_a_wrong_host_is_refused(labeller, page, host):
    assert page.get("state", Host=host).status == 403
    right = {"turn": 0, "sample_id": 10, "index": 0}
    assert page.post("answer", right, Host=host).status == 403
    assert page.post("answer", right, Host=host, Origin=f"http://{host}").status == 403
    assert labeller.labels == []


@pytest.mark.parametrize("origin", [FORGED, "null", "", "http://127.0.0.1", "https://{}"])
def test_a_wrong_origin_is_refused(labeller, page, origin):
    origin = origin.format(page.host)
    for name in ("answer", "undo", "stop"):
        body = {"turn": 0, "sample_id": 10, "index": 0}
        assert page.post(name, body, Origin=origin).status == 403
    if origin:
        assert page.get("state", Origin=origin).status == 403
    assert labeller.labels == []
    assert page.get("state").json["over"] == ""


def test_localhost_is_this_machine_too(page):
    host = page.host.replace("127.0.0.1", "localhost")
    assert page.get("state", Host=host).status == 200
    assert page.post("undo", {"turn": 0}, Host=host, Origin=f"http://{host}").status == 200


def test_it_listens_on_loopback_only(page):
    assert page.host.startswith("127.0.0.1:")
    port = int(page.host.split(":")[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=2)


def test_two_pages_have_two_tokens(page):
    with asking(ListLabeller()) as other:
        assert len(other.token) >= 32
        assert other.token != page.token


def test_a_second_click_counts_once(labeller, page):
    replies = [page.answer(0, 10, index).json for index in (0, 0, 1, None)]
    assert labeller.labels == [(10, 0)]
    assert all(each == replies[0] for each in replies)


def test_clicks_at_once_count_once(labeller, page):
    threads = [threading.Thread(target=page.answer, args=(0, 10, 1)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert labeller.labels == [(10, 1)]


@pytest.mark.parametrize("index", [2, -1, 10**30])
def test_an_index_out_of_range_is_refused(labeller, page, index):
    reply = page.answer(0, 10, index)
    assert (reply.status, labeller.labels) == (400, [])
    assert reply.json == {"error": f"answer {index} is not among 0 to 1"}
    assert page.answer(0, 10, 1).status == 200


@pytest.mark.parametrize(("turn", "sample"), [(0, 11), (1, 10), (1, 11), (-1, 10), (7, 99)])
def test_a_sample_that_is_not_asked_is_refused(labeller, page, turn, sample):
    reply = page.answer(turn, sample, 0)
    assert (reply.status, labeller.labels) == (400, [])
    assert reply.json == {"error": f"sample {sample} is not asked in turn {turn}"}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"7", b"\xff", b"[" * 900, b'{"turn": 0}', b"{" + b" " * 2000 + b"}"),
        b'{"turn": 0, "sample_id": 10}',
        b'{"turn": 0, "sample_id": 10, "index": true}',
        b'{"turn": 0, "sample_id": 10, "index": "0"}',
        b'{"turn": 0.0, "sample_id": 10, "index": 0}',
        b'{"turn": false, "sample_id": 10, "index": 0}',
    ],
)
def test_a_body_that_is_no_answer_is_refused(labeller, page, body):
    assert page.post("answer", body).status == 400
    assert labeller.labels == []
    assert page.get("state").json["turn"] == 0


def test_a_form_is_no_answer(labeller, page):
    body = {"turn": 0, "sample_id": 10, "index": 0}
    assert page.post("answer", body, **{"Content-Type": "text/plain"}).status == 400
    assert labeller.labels == []


def test_nothing_else_is_served(page):
    for name in ("", "../label", "server.py", "answer", "page.html"):
        assert page.get(name).status == 404, name
    assert page.post("state").status == 404


def test_undo_asks_again(labeller, page):
    page.answer(0, 10, 0)
    page.answer(1, 11, 1)
    back = page.post("undo", {"turn": 2}).json
    assert (back["turn"], back["sample_id"], back["last"], back["labelled"]) == (3, 11, "cat", 1)
    assert page.get("picture/3").status == 200
    assert page.post("undo", {"turn": 2}).json == back  # a second click
    assert page.answer(1, 11, 1).json == back  # the first time's, late
    assert labeller.labels == [(10, 0)]
    assert page.answer(3, 11, None).json["sample_id"] == 12
    assert labeller.labels == [(10, 0), (11, None)]


def test_nothing_to_take_back_is_said(labeller, page):
    back = page.post("undo", {"turn": 0}).json
    assert (back["turn"], back["note"]) == (0, "There is no answer to take back.")
    assert page.answer(0, 10, 0).json["note"] == ""


def test_an_earlier_sessions_answer_can_be_taken_back():
    labeller = ListLabeller()
    labeller.labels = [(10, 0)]
    with asking(labeller) as page:
        back = page.post("undo", {"turn": 0}).json
        assert (back["sample_id"], back["labelled"], labeller.labels) == (10, 0, [])


def test_stop(labeller, page, alive):
    stream = alive(page)
    page.answer(0, 10, 0)
    over = page.post("stop").json
    assert (over["over"], over["labelled"], over["sample_id"]) == ("Stopped", 1, None)
    event = next(each for each in stream.read().split(b"\n\n") if each.startswith(b"data: "))
    assert json.loads(event.removeprefix(b"data: ")) == over
    assert page.closed() == "Stopped: 1 picture labelled"


@pytest.mark.parametrize("call", ["answered", "next", "status", "undo"])
@pytest.mark.parametrize(
    ("error", "told"),
    [(InputError("the disk is full"), "the disk is full"), (KeyError("x"), "KeyError: 'x'")],
)
def test_an_error_is_told_and_raised(labeller, page, alive, call, error, told):
    stream = alive(page)
    labeller.breaks[call] = error
    reply = page.post("undo", {"turn": 0}) if call == "undo" else page.answer(0, 10, 0)
    assert (reply.status, reply.json["note"]) == (500, told)
    assert reply.json["over"] == "Something failed"
    assert json.dumps(told).encode() in stream.read()
    kept = int(call in ("next", "status"))
    assert page.closed().startswith(f"Something failed: {kept} picture")
    assert page.raised == [error]


def test_an_error_before_the_first_question(labeller):
    labeller.breaks["next"] = InputError("the plan was changed")
    said = []
    with pytest.raises(InputError, match="the plan was changed"):
        ask(labeller, open_browser=False, say=said.append)
    assert said == ["Something failed: 0 pictures labelled"]


def test_nothing_to_ask_opens_nothing(monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("opened"))
    said = []
    ask(ListLabeller(0), say=said.append)
    assert said == ["No pictures are left to label: 0 pictures labelled"]


def test_it_closes_when_the_page_has(quick, labeller, alive):
    with asking(labeller) as page:
        time.sleep(0.8)  # no page was there yet
        first = alive(page)
        page.answer(0, 10, 0)
        first.close()
        second = alive(page)  # reloaded
        time.sleep(0.8)
        assert page.get("state").json["over"] == ""
        second.close()
        assert page.closed() == "The page was closed: 1 picture labelled"
    assert labeller.labels == [(10, 0)]


def test_a_hung_connection_does_not_keep_it_open(labeller, page):
    with socket.create_connection(page.host.split(":"), timeout=20):
        page.post("stop")
        page.closed()


def test_ctrl_c_stops(labeller):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    said = []

    def told(line):
        said.append(line)
        if len(said) == 1:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    ask(labeller, open_browser=False, say=told)
    assert said[1] == "Stopped: 0 pictures labelled"


def test_the_address_is_opened(monkeypatch, labeller):
    said, opened = [], threading.Event()

    def browse(url):
        assert url in said[0]
        opened.set()
        line = http.client.HTTPConnection(url.split("/")[2], timeout=20)
        own = {"Origin": "/".join(url.split("/")[:3]), "Content-Type": "application/json"}
        line.request("POST", f"/{url.split('/')[3]}/stop", b"{}", own)
        line.getresponse().read()
        line.close()

    monkeypatch.setattr(webbrowser, "open", browse)
    ask(labeller, say=said.append)
    assert opened.is_set()


def test_a_port_of_ones_own_and_one_that_is_taken(page):
    port = int(page.host.split(":")[1])
    with pytest.raises(InputError, match=f"port {port} cannot be had .*: give another, 0 is any"):
        ask(ListLabeller(), open_browser=False, port=port)
    with pytest.raises(InputError, match="port 70000 cannot be had"):
        ask(ListLabeller(), open_browser=False, port=70_000)
    page.post("stop")
    page.closed()
    with asking(ListLabeller(), port=port) as again:
        assert again.host == f"127.0.0.1:{port}"


@pytest.mark.parametrize("answers", [(), ("cat", "cat")])
def test_a_questions_answers_differ(answers):
    with pytest.raises(ValueError, match="different answers"):
        LabelQuestion(1, "k", None, answers)
