"""One writer of a partition at a time, or several that share it, whoever and wherever they are.

A local cache is locked with `flock`, which ends with the process however it ends. An object store
knows no locks: there a process writes a claim and then looks for others (`object_store`). Readers
need neither: what they read is published whole.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cache.locks.holder import BusyError, Holder, Told, busy, silent, waiting
from cache.locks.object_store import claimed
from cache.storage import InputError, Store, no_room

try:
    import fcntl
except ImportError:  # Windows: claims do for a folder too
    fcntl = None  # type: ignore[assignment]

LOCKS = ".tmp/locks"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)

# (process, thread, cache, name) → whether it is held shared: what a thread holds it may take again.
_held: dict[tuple[int, int, str, str], bool] = {}
_descriptors: set[int] = set()

__all__ = ["BusyError", "lock", "lock_all", "lock_to_delete"]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@contextmanager
def lock(
    store: Store, name: str, shared: bool = False, wait: bool = True, told: Told = _say
) -> Iterator[None]:
    """Hold `name`, a path such as a partition's, alone or together with others that share it.

    Who has to wait calls `told` once, with one line; without `wait` it is a BusyError. The thread
    that holds a name may take it again.
    """
    key = (os.getpid(), threading.get_ident(), store.base, name)
    if key in _held:
        if _held[key] and not shared:
            raise RuntimeError(f"{name} is held shared and cannot be taken alone as well")
        yield
        return
    hold = flocked if store.local and fcntl is not None else claimed
    with hold(store, name, shared, wait, told):
        _held[key] = shared
        try:
            yield
        finally:
            del _held[key]


@contextmanager
def lock_all(
    store: Store,
    names: Iterable[str],
    shared: bool = False,
    wait: bool = True,
    told: Told = _say,
) -> Iterator[None]:
    """Hold several names, taken in one order everywhere, so that no two wait for each other."""
    with ExitStack() as stack:
        for name in sorted(set(names)):
            stack.enter_context(lock(store, name, shared, wait, told))
        yield


@contextmanager
def lock_to_delete(store: Store, name: str, wait: bool = True, told: Told = _say) -> Iterator[None]:
    """As `lock`, alone; but who makes room on a full disk, which has none for the lock's file, goes
    on without: nobody else held the lock, or its file would be there."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(store, name, False, wait, told))
        except InputError as error:
            if fcntl is None or not no_room(error.__cause__):
                raise
        yield


@contextmanager
def flocked(store: Store, name: str, shared: bool, wait: bool, told: Told) -> Iterator[None]:
    """The lock of a folder, by `flock`."""
    path = store.local_path(f"{LOCKS}/{name}.lock")
    _leave_locks_to_the_parent()
    with store.faults("write"):
        descriptor = _take(store, path, name, shared, wait, told)
    _descriptors.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _descriptors:  # else this is a child of the process that holds it
            _descriptors.discard(descriptor)
            _give_back(path, descriptor, shared)


def _take(store: Store, path: Path, name: str, shared: bool, wait: bool, told: Told) -> int:
    """A descriptor of the very file that lies at `path`, locked."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process pruned the folder while it was empty
            continue
        try:
            if not _flock(store, descriptor, shared, wait=False):
                holder = Holder.from_json(os.pread(descriptor, 4096, 0))
                if not wait:
                    raise busy(store, name, holder)
                told(waiting(store, name, holder))
                told = silent
                _flock(store, descriptor, shared, wait=True)
            if _lies_at(path, descriptor):  # else whoever held it has removed it meanwhile
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _flock(store: Store, descriptor: int, shared: bool, wait: bool) -> bool:
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, mode | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise InputError(
                f"the file system of the cache {store.root} has no file locks: choose another "
                "with --cache"
            ) from error
        raise
    return True


def _give_back(path: Path, descriptor: int, shared: bool) -> None:
    """Remove the file while nobody else holds it; who waits for it looks where it went."""
    try:
        if shared:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _lies_at(path, descriptor):
            path.unlink(missing_ok=True)
    except OSError:
        pass  # others share it, or the disk refuses: an empty lock left there locks nobody out
    finally:
        os.close(descriptor)


def _lies_at(path: Path, descriptor: int) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _sign(descriptor: int) -> None:
    """Say who holds it; unsigned, where the disk is full, it holds all the same."""
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, Holder.this_process().to_json().encode(), 0)
    except OSError as error:
        if not no_room(error):
            raise


@functools.cache
def _leave_locks_to_the_parent() -> None:
    """A lock lasts until every copy of its descriptor is closed: a forked child closes its own."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    for descriptor in _descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()
