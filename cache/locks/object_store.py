"""Locks where there is no rename and no flock: write a claim, then look who else has one.

Each holder keeps `.tmp/claims/NAME.claims/ID.json` and writes it again every HEARTBEAT_S. Who finds
another's claim after writing its own withdraws and tries later. Of two that write at the same time
at least one sees the other, because the store is consistent: an object that was written before a
listing began is in it (S3, Google Cloud Storage and Azure promise that). A claim not written for
STALE_S counts no more; ages are differences on the store's own clock, or waited out on ours.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cache.locks.holder import Holder, Told, busy, silent, waiting
from cache.storage import FileEntry, InputError, Store

CLAIMS = ".tmp/claims"
HEARTBEAT_S = 10.0
STALE_S = 60.0
_POLL_S = 2.0
_TRIES = 3  # of who does not wait: the other may have been withdrawing, too

_KINDS = {True: "shared", False: "alone"}


@contextmanager
def claimed(store: Store, name: str, shared: bool, wait: bool, told: Told) -> Iterator[None]:
    """As `locking.lock`. InputError at the end if the claim was lost to another meanwhile."""
    claim = _take(store, name, shared, wait, told)
    try:
        yield
    finally:
        claim.withdraw()
    if claim.lost:
        raise InputError(
            f"{name} in {store.root} was taken over while this process did not answer for "
            f"{STALE_S:.0f} s: run the same command again, it checks what is there"
        )


class _Claim:
    """A claim that is kept fresh until it is withdrawn."""

    def __init__(self, store: Store, folder: str, shared: bool) -> None:
        self.path = f"{folder}/{uuid.uuid4().hex}.{_KINDS[shared]}.json"
        self.lost = False
        self._store = store
        self._body = Holder.this_process().to_json().encode()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        store.write(self.path, self._body)

    def keep(self) -> None:
        self._thread.start()

    def withdraw(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        self._store.delete(self.path)

    def _beat(self) -> None:
        while not self._end.wait(HEARTBEAT_S):
            try:
                self.lost = not self._store.exists(self.path)
                if self.lost:
                    return
                self._store.write(self.path, self._body)
            except InputError:  # a store out of reach may be back at the next beat
                continue


class _Others:
    """The claims that stand in the way, as seen again and again by one who waits."""

    def __init__(self, store: Store, folder: str, shared: bool) -> None:
        self._store, self._folder = store, folder
        self._in_the_way = (_KINDS[False],) if shared else tuple(_KINDS.values())
        self._seen: dict[str, tuple[float | None, float]] = {}
        self._holders: dict[str, Holder | None] = {}

    def live(self, own: str | None = None) -> list[str]:
        """Their paths; claims that are stale or whose process has ended are removed."""
        entries = self._store.entries(self._folder)
        now = max((e.changed or 0.0 for e in entries if e.path == own), default=None)
        found = []
        for entry in entries:
            if entry.path == own or entry.path.split(".")[-2] not in self._in_the_way:
                continue
            if self._is_stale(entry, now) or self._is_gone(entry.path):
                self._store.delete(entry.path)
            else:
                found.append(entry.path)
        return found

    def holder(self, path: str) -> Holder | None:
        if path not in self._holders:
            try:
                self._holders[path] = Holder.from_json(self._store.read(path).to_pybytes())
            except FileNotFoundError:
                return None
        return self._holders[path]

    def _is_stale(self, entry: FileEntry, now: float | None) -> bool:
        if entry.changed is None:
            return False
        changed, since = self._seen.get(entry.path, (None, 0.0))
        if changed != entry.changed:
            since = time.monotonic()
            self._seen[entry.path] = (entry.changed, since)
        unchanged = time.monotonic() - since
        return max(unchanged, (now or 0.0) - entry.changed) > STALE_S

    def _is_gone(self, path: str) -> bool:
        holder = self.holder(path)
        return holder is not None and holder.is_gone()


def _take(store: Store, name: str, shared: bool, wait: bool, told: Told) -> _Claim:
    folder = f"{CLAIMS}/{name}.claims"
    others = _Others(store, folder, shared)
    for tried in itertools.count(1):
        claim = _try(store, folder, shared, others)
        if claim is not None:
            return claim
        _sleep(tried)
        found = others.live()
        if found and not wait and tried >= _TRIES:
            raise busy(store, name, others.holder(found[0]))
        if found and wait:
            until = f" (one that falls silent is given up after {STALE_S:.0f} s)"
            told(waiting(store, name, others.holder(found[0]), until))
            told = silent
        while wait and others.live():
            _sleep(tried)
    raise RuntimeError("unreachable")


def _try(store: Store, folder: str, shared: bool, others: _Others) -> _Claim | None:
    claim = _Claim(store, folder, shared)
    try:
        if not others.live(claim.path):
            claim.keep()
            return claim
    except BaseException:
        claim.withdraw()
        raise
    claim.withdraw()
    return None


def _sleep(tried: int) -> None:
    """Longer from try to try; unlike others', so that two do not meet forever."""
    time.sleep(random.uniform(0.5, 1.0) * min(_POLL_S, 0.05 * 2**tried))
