"""Actors that misbehave; a folder remembers what has happened already."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

from stages.extract.ray_engine import Maker

HAPPENED = "TESTS_HAPPENED"


def first_time(maker, what):
    """Whether this is the first process, in this run, that asks."""
    name = f"{Path(maker._order.probe).stem}-{what}"
    try:
        os.close(os.open(Path(os.environ[HAPPENED], name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Dies(Maker):
    """Killed before it makes part 3, and when it has written part 5 but not said so."""

    def make(self, item, tries):
        if item[1] == 3 and first_time(self, "before"):
            die()
        made = super().make(item, tries)
        if item[1] == 5 and first_time(self, "after"):
            die()
        return made


class AlwaysDies(Maker):
    """Part 3 ends every worker."""

    tries = 2

    def make(self, item, tries):
        if item[1] == 3 and tries <= self.tries:
            die()
        return super().make(item, tries)


class Overwritten(Maker):
    """A worker that was taken for dead writes part 2 after the one that replaced it."""

    def make(self, item, tries):
        made = super().make(item, tries)
        if item[1] == 2 and first_time(self, "overwritten"):
            super().make(item, tries)  # the same rows, other times
        return made


class NeverThere(Maker):
    """Its records are never what lies in the cache."""

    def make(self, item, tries):
        return [
            replace(each, logits=replace(each.logits, sha256="0" * 64))
            for each in super().make(item, tries)
        ]
