"""Virtual time: a clock that only `sleep` moves, and pollers that fire on the way."""

from __future__ import annotations

from stages.energy import SensorError
from stages.energy.timing import Timing


class Clock:
    """A clock that only `sleep` moves; pollers fire on the way, in order."""

    def __init__(self, now_s=1000.0):
        self.now_ns = round(now_s * 1e9)
        self.pollers = []

    def __call__(self):
        return self.now_ns

    @property
    def now_s(self):
        return self.now_ns / 1e9

    def sleep(self, seconds):
        end = self.now_ns + round(seconds * 1e9)
        while self.pollers:
            first = min(self.pollers, key=lambda poller: poller.next_ns)
            if first.next_ns > end:
                break
            self.now_ns = max(self.now_ns, first.next_ns)
            first.fire()
        self.now_ns = end

    def poller(self, read, period_s, clock):
        return VirtualPoller(self, read, period_s)

    @property
    def timing(self):
        return Timing(self, self.sleep, self.poller)


class VirtualPoller:
    def __init__(self, clock, read, period_s):
        self.clock, self.read, self.period_ns = clock, read, round(period_s * 1e9)
        self.samples, self.error = [], None

    def start(self):
        self.sample()
        self.next_ns = self.clock.now_ns + self.period_ns
        self.clock.pollers.append(self)

    def stop(self):
        if self in self.clock.pollers:
            self.clock.pollers.remove(self)
        if self.error is not None:
            raise self.error
        self.sample()
        return self.samples

    def fire(self):
        self.next_ns += self.period_ns
        try:
            self.sample()
        except SensorError as error:
            self.error = error
            self.clock.pollers.remove(self)

    def sample(self):
        self.samples.append((self.clock.now_ns, self.read()))
