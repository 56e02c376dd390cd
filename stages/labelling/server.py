"""Who may talk to the page: this machine only, with the token, from the page itself.

Another page in the same browser can send requests here, and can have its own name resolve to this
machine (DNS rebinding): the token is not known to it, its Host and Origin are its own.
"""

from __future__ import annotations

import json
import secrets
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources

from cache import InputError
from stages.labelling.session import STOPPED, AnswerError, LabelSession, PageState

LOOPBACK = "127.0.0.1"
FILES = {
    "label": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}
SAFETY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
JSON = "application/json"
LONGEST = 1_000  # bytes of a request's body
BEAT_S = 1.0
READ_S, WRITE_S = 2.0, 20.0  # a browser opens connections that it never uses


class LabelServer(socketserver.ThreadingTCPServer):
    """Serves a session at `address` until it is shut; closing it waits for answers on their way."""

    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, session: LabelSession, port: int) -> None:
        self.session, self.token = session, secrets.token_urlsafe(24)
        try:
            super().__init__((LOOPBACK, port), LabelHandler)
        except (OSError, OverflowError) as error:
            why = f"port {port} cannot be had ({error}): give another, 0 is any"
            raise InputError(why) from error
        at = self.server_address[1]
        self.hosts = [f"{name}:{at}" for name in (LOOPBACK, "localhost")]
        self.address = f"http://{self.hosts[0]}/{self.token}/label"

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser may hang up at any time; the rest is ours."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, (ConnectionError, TimeoutError)):
            self.session.fail(error)


@contextmanager
def serving(session: LabelSession, port: int) -> Iterator[str]:
    """The address of the page. InputError for a port that cannot be had."""
    with LabelServer(session, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.address
        finally:
            session.end(STOPPED)
            server.shutdown()
            thread.join()


class RefusedError(Exception):
    """A request that is not served, with its HTTP status."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class LabelHandler(BaseHTTPRequestHandler):
    """One request."""

    server: LabelServer
    timeout = READ_S
    server_version, sys_version = "labelling", ""

    def do_GET(self) -> None:
        self._serve({"state": self._state, "alive": self._alive, "picture": self._picture})

    def do_POST(self) -> None:
        self._serve({"answer": self._answer, "undo": self._undo, "stop": self._stop})

    def log_message(self, format: str, *args: object) -> None:
        """The terminal is for the command's own words."""

    def _serve(self, routes: Mapping[str, Callable[[], None]]) -> None:
        length = _decimal(self.headers["Content-Length"] or "")
        # Read also where the request is refused: closed before, the refusal may be lost.
        self.sent = self.rfile.read(length) if length and length <= LONGEST else b""
        try:
            self._check_origin()
            name = self._parts()[1]
            if self.command == "GET" and name in FILES:
                self._file(*FILES[name])
            elif name in routes:
                routes[name]()
            else:
                raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")
        except RefusedError as error:
            self._send_json({"error": str(error)}, error.status)
        except AnswerError as error:
            self._send_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)

    def _check_origin(self) -> None:
        """The token, the host's name, and the page that asks; a browser says the last with POST."""
        token, origin = self._parts()[0], self.headers["Origin"]
        said = self.command == "POST" or origin is not None
        known = [f"http://{host}" for host in self.server.hosts]
        checks = (
            (secrets.compare_digest(token.encode(), self.server.token.encode()), "token"),
            (self.headers["Host"] in self.server.hosts, "Host"),
            (not said or origin in known, "Origin"),
        )
        for holds, what in checks:
            if not holds:
                why = f"wrong {what}: open the address that the command printed"
                raise RefusedError(HTTPStatus.FORBIDDEN, why)

    def _parts(self) -> tuple[str, str, str]:
        """Token, name and turn of /TOKEN/NAME/TURN."""
        path = self.path.partition("?")[0]
        token, name, turn, *_ = (*path.removeprefix("/").split("/", 2), "", "")
        return token, name, turn

    def _body(self) -> Mapping[str, object]:
        if self.headers["Content-Type"] != JSON:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is no {JSON}")
        try:
            body = json.loads(self.sent)
        except (ValueError, RecursionError) as error:
            why = f"no JSON of at most {LONGEST} bytes: {error}"
            raise RefusedError(HTTPStatus.BAD_REQUEST, why) from error
        return body if isinstance(body, dict) else {}

    def _file(self, name: str, kind: str) -> None:
        self._send(resources.files("stages.labelling").joinpath(name).read_bytes(), kind)

    def _picture(self) -> None:
        turn = _decimal(self._parts()[2])
        png = None if turn is None else self.server.session.picture(turn)
        if png is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "this picture is not asked")
        self._send(png, "image/png")

    def _state(self) -> None:
        self._send_state(self.server.session.state())

    def _answer(self) -> None:
        body = self._body()
        turn, sample_id = _whole(body, "turn"), _whole(body, "sample_id")
        index = None if body.get("index", "") is None else _whole(body, "index")
        self._send_state(self.server.session.answer(turn, sample_id, index))

    def _undo(self) -> None:
        self._send_state(self.server.session.undo(_whole(self._body(), "turn")))

    def _stop(self) -> None:
        self._body()
        self._send_state(self.server.session.end(STOPPED))

    def _alive(self) -> None:
        """An event stream for as long as the page is there, whose one event is the final state: a
        timer in the page would sleep with a tab in the background."""
        session = self.server.session
        self._head(HTTPStatus.OK, "text/event-stream")
        with session.page():
            while not session.over.wait(BEAT_S):
                self.wfile.write(b":\n\n")
            self.wfile.write(f"data: {json.dumps(asdict(session.state()))}\n\n".encode())

    def _send_state(self, state: PageState) -> None:
        failed = self.server.session.error is not None
        status = HTTPStatus.INTERNAL_SERVER_ERROR if failed else HTTPStatus.OK
        self._send_json(asdict(state), status)

    def _send_json(self, value: Mapping[str, object], status: HTTPStatus) -> None:
        self._send(json.dumps(value).encode(), JSON, status)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._head(status, kind, {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, more: Mapping[str, str] | None = None) -> None:
        self.connection.settimeout(WRITE_S)
        self.send_response(status)
        for name, value in {"Content-Type": kind, **SAFETY, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()


def _decimal(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _whole(body: Mapping[str, object], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{name} is no whole number")
    return value
