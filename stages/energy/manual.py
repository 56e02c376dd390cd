"""An external wattmeter, read by a person before and after, or given as arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cache import InputError
from stages.energy.meter import Measured, Meter, Sensor
from stages.energy.timing import REAL, Timing
from stages.energy.uncertainty import truncation

UNITS = {"J": 1.0, "kJ": 1e3, "Wh": 3600.0, "kWh": 3.6e6}
READING = re.compile(r"^(\d+(?:[.,](\d+))?)\s*([A-Za-z]*)$")
ASK = "wattmeter's energy {when} the run, with unit (J, kJ, Wh or kWh), as 12.34 Wh: "


@dataclass(frozen=True)
class Display:
    """What a wattmeter showed, in J, and the step of its last digit, in J."""

    joules: float
    step: float


def parse(text: str) -> Display:
    """A reading with its unit, "12.34 Wh". Raises InputError."""
    found = READING.match(text.strip())
    units = {name.lower(): size for name, size in UNITS.items()}
    if found is None or found[3].lower() not in units:
        raise InputError(
            f"{text.strip()!r} is no wattmeter reading: a number and its unit, one of "
            f"{', '.join(UNITS)}, as 12.34Wh"
        )
    size = units[found[3].lower()]
    decimals = len(found[2] or "")
    return Display(float(found[1].replace(",", ".")) * size, size / 10**decimals)


def given(readings: str) -> Callable[[str], str]:
    """Answers from "BEFORE,AFTER[,BEFORE,AFTER…]" instead of a person."""
    answers: Iterator[str] = iter(readings.split(","))

    def ask(prompt: str) -> str:
        answer = next(answers, None)
        if answer is None:
            raise InputError(
                f"the given wattmeter readings ({readings}) are used up: give a pair per window"
            )
        return answer

    return ask


def from_terminal(prompt: str) -> str:
    """The answer of whoever sits there, asked on stderr. Raises InputError where nobody does."""
    if not sys.stdin.isatty():
        raise InputError(
            "nobody is there to read the wattmeter: give its readings as manual:BEFORE,AFTER with "
            "units, as manual:0Wh,12.34Wh"
        )
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


class ManualMeter(Meter):
    """A wattmeter whose display is typed in.

    It runs on while a person types: the joules are those between the two readings, and where they
    lie further apart than the window the excess is flagged.
    """

    def __init__(self, ask: Callable[[str], str] = from_terminal, timing: Timing = REAL) -> None:
        super().__init__(Sensor("manual", "system", "external wattmeter"), timing)
        self._ask = ask

    def begin(self) -> tuple[Display, int]:
        """The first reading and when it was given."""
        return self._read("before")

    def finish(self, state: tuple[Display, int], start_ns: int, end_ns: int) -> Measured:
        """Joules between the readings; doubt from the last digit."""
        before, then = state
        after, now = self._read("after")
        joules = after.joules - before.joules
        if joules <= 0:
            did = "did not change" if joules == 0 else f"went back by {-joules:.6g} J"
            return Measured(None, reason=f"the wattmeter's reading {did}: measure for longer")
        reset = before.joules == 0  # a zero after a reset has no digits, and is exact enough
        sd, half = truncation(after.step if reset else max(before.step, after.step))
        interval = max(0.0, joules - half), joules + half
        excess = ((now - then) - (end_ns - start_ns)) / 1e9
        told = f"the wattmeter ran {excess:.3g} s longer than the window: idle energy is included"
        return Measured(joules, sd, interval, warnings=(told,) if excess >= 1.0 else ())

    def _read(self, when: str) -> tuple[Display, int]:
        display = parse(self._ask(ASK.format(when=when)))
        return display, self.timing.clock()
