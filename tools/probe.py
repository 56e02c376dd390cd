#!/usr/bin/env python3
"""Measure models on this board; write the CSV that `cascade import-costs` reads.

Runs alone: Python 3.6 or later, torch 1.4 or later, torchvision only for --models.

    python3 probe.py --models resnet18,mobilenet_v2 --out costs.csv
    python3 probe.py --torchscript resnet20=r20.pt resnet56=r56.pt --input 3x32x32

latency_ms is of one batch, from the resident input to the output on the host, synchronised;
energy_j is of one image, gross. Joules come from the first sensor that answers: INA3221 or INA238
(Jetson boards), else, with --device cuda, NVML's energy counter where it advances, else NVML's
power. Where none answers, or a window saw fewer than 20 ticks of it, they are empty cells, and the
column `reason` says why.
"""

# ruff: noqa: B905, RUF007, SIM905  (Python 3.6 has no zip(strict=) and no pairwise)

import argparse
import csv
import ctypes
import glob
import math
import os
import random
import sys
import threading
import time
import warnings
from collections import namedtuple
from datetime import UTC, datetime

COLUMNS = (
    "model runtime device component batch_size meter latency_ms latency_sd_ms latency_p50_ms "
    "latency_p95_ms latency_p99_ms runs energy_j energy_low_j energy_high_j energy_above_idle_j "
    "idle_w windows window_s ticks tick_s scope reason warnings parameters peak_memory_bytes "
    "source measured"
).split()
FEWEST_TICKS = 20
SENSOR_WINDOW_S, BLIND_WINDOW_S = 5.0, 0.5
# A window with too few ticks goes on for this many times its length.
PATIENCE = 4
# NVML's power is an average over the last second on many boards.
SETTLE_S = 1.5
# TorchScript compiles during the first ones.
FIRST_RUNS = 3
POLL_S = 0.02
# Two-sided 95 % quantiles of Student's t by degrees of freedom, and of the normal distribution.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
Z95 = 1.959964
OUT_OF_MEMORY = ("out of memory", "can't allocate", "cannot allocate")
PRECISIONS = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
# Functions of torchvision.models that make no model begin so.
OTHERS = ("get", "list")


class RequestError(Exception):
    """The request is wrong; the message is one line."""


class SensorError(Exception):
    """A sensor gave no usable value."""


# --- sensors -------------------------------------------------------------------------------------
# Each has meter, scope, note, and read(): watts, or, where `counts`, joules since some start.

CHIPS = ("ina3221", "ina238")
# Rails that feed all others, the widest first.
INPUTS = ("VIN", "VDD_IN", "POM_5V_IN")
Rail = namedtuple("Rail", "chip label files scale")


class Rails:
    """Watts of a board: its input rail, else the sum of its named rails, never both."""

    counts = False

    def __init__(self, root):
        rails = {rail.label: rail for rail in _hwmon_rails(root) + _iio_rails(root)}
        if not rails:
            raise SensorError("no INA3221 or INA238")
        fed = [rails[label] for label in INPUTS if label in rails][:1]
        self.rails = fed or [rails[label] for label in sorted(rails)]
        self.meter = self.rails[0].chip
        self.scope = "module" if fed else "rail"
        self.note = None if fed else "sum of " + " + ".join(rail.label for rail in self.rails)

    def read(self):
        return sum(_watts(rail) for rail in self.rails)


def _watts(rail):
    product = 1
    for path in rail.files:
        try:
            product *= int(_text(path) or "")
        except ValueError as error:
            raise SensorError("cannot read " + path) from error
    return product * rail.scale


def _hwmon_rails(root):
    """hwmon: in*_input in mV and curr*_input in mA, or power*_input in uW."""
    found = []
    for folder in _folders(root, "sys/class/hwmon/hwmon*"):
        chip = _text(os.path.join(folder, "name"))
        for n in (1, 2, 3) if chip in CHIPS else ():
            label = _text(os.path.join(folder, f"in{n}_label"))
            if label is None and (chip, n) == ("ina238", 1):  # it has one channel and no label
                label = "VIN"
            power = os.path.join(folder, f"power{n}_input")
            files = [os.path.join(folder, f"{kind}{n}_input") for kind in ("in", "curr")]
            files = [power] if os.path.exists(power) else files
            found.append(Rail(chip, label, files, 1e-6))
    return _named(found)


def _iio_rails(root):
    """JetPack 4 and older: in_power*_input in mW."""
    found = []
    for folder in _folders(root, "sys/bus/i2c/drivers/ina3221x/*/iio:device*"):
        for n in (0, 1, 2):
            label = _text(os.path.join(folder, f"rail_name_{n}"))
            files = [os.path.join(folder, f"in_power{n}_input")]
            found.append(Rail("ina3221", label, files, 1e-3))
    return _named(found)


def _named(rails):
    """Those that are connected."""
    return [
        rail
        for rail in rails
        if rail.label not in (None, "", "NC") and all(map(os.path.exists, rail.files))
    ]


def _folders(root, pattern):
    return sorted(glob.glob(os.path.join(glob.escape(root), pattern)))


def _text(path):
    """A small file's text, None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace").strip("\0 \n")
    except OSError:
        return None


class Nvml:
    """One GPU through libnvidia-ml.so; `libraries` opens a shared library by its name."""

    scope = "gpu"

    def __init__(self, ordinal, libraries=ctypes.CDLL, sleep=time.sleep):
        try:
            cuda, self.library = libraries("libcuda.so.1"), libraries("libnvidia-ml.so.1")
        except OSError as error:
            raise SensorError(f"no NVML ({error})") from error
        # CUDA's own order, which CUDA_VISIBLE_DEVICES changes, is not NVML's.
        device, address = ctypes.c_int(), ctypes.create_string_buffer(32)
        _call(cuda, "cuInit", 0)
        _call(cuda, "cuDeviceGet", ctypes.byref(device), ordinal)
        _call(cuda, "cuDeviceGetPCIBusId", address, 32, device)
        self.handle = ctypes.c_void_p()
        _call(self.library, "nvmlInit_v2")
        _call(self.library, "nvmlDeviceGetHandleByPciBusId_v2", address, ctypes.byref(self.handle))
        if self._mig():
            raise SensorError("NVML knows the joules of a whole GPU, this one is split (MIG)")
        self.counts = self._advances(sleep)
        self.meter = "nvml_counter" if self.counts else "nvml_power"
        self.note = None if self.counts else "the driver may average power over 1 s"

    def read(self):
        if self.counts:
            return self._get("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong()) / 1e3
        return self._get("nvmlDeviceGetPowerUsage", ctypes.c_uint()) / 1e3

    def _get(self, name, value):
        _call(self.library, name, self.handle, ctypes.byref(value))
        return value.value

    def _mig(self):
        now, pending = ctypes.c_uint(), ctypes.c_uint()
        try:
            pointers = ctypes.byref(now), ctypes.byref(pending)
            _call(self.library, "nvmlDeviceGetMigMode", self.handle, *pointers)
        except SensorError:  # a driver or GPU from before MIG
            return False
        return now.value == 1

    def _advances(self, sleep):
        name = "nvmlDeviceGetTotalEnergyConsumption"
        try:
            first = self._get(name, ctypes.c_ulonglong())
            for _ in range(20):
                sleep(0.05)
                if self._get(name, ctypes.c_ulonglong()) > first:
                    return True
        except SensorError:  # older than Volta
            return False
        return False


def _call(library, name, *arguments):
    try:
        function = getattr(library, name)
    except AttributeError as error:
        raise SensorError("this driver lacks " + name) from error
    code = function(*arguments)
    if code:
        raise SensorError(f"{name} failed with code {code}")


def find_sensor(root, device):
    """(sensor, None), or (None, why there is none)."""
    ways = [lambda: Rails(root)]
    if device.type == "cuda":
        ways.append(lambda: Nvml(device.index or 0))
    reasons = []
    for way in ways:
        try:
            sensor = way()
            sensor.read()
            return sensor, None
        except SensorError as error:
            reasons.append(str(error))
    return None, "no sensor: " + "; ".join(reasons)


# --- windows -------------------------------------------------------------------------------------

Window = namedtuple("Window", "laps_s seconds joules ticks tick_s reason")


class Sampler:
    """Reads a sensor again and again in a thread; `clock` gives seconds."""

    def __init__(self, sensor, clock=time.perf_counter):
        self.sensor, self.clock = sensor, clock
        self.samples, self.changes, self.failures = [], [], []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(POLL_S):
            self.take()

    def take(self):
        """One reading, timed in the middle of its read."""
        begun = self.clock()
        try:
            value = self.sensor.read()
        except SensorError as error:
            self.failures.append((self.clock(), str(error)))
            return
        at = (begun + self.clock()) / 2
        if self.samples and value != self.samples[-1][1]:
            self.changes.append((at, value))
        self.samples.append((at, value))

    def settled(self, start):
        """Whether a window since `start` has what it needs, or never will."""
        return bool(_within(self.failures, start)) or (
            len(_within(self.changes, start)) >= FEWEST_TICKS
        )

    def energy(self, start, end):
        """(joules or None, ticks, seconds per tick or None, reason or None) of [start, end]."""
        failures, ticks = _within(self.failures, start, end), _within(self.changes, start, end)
        tick_s = (ticks[-1][0] - ticks[0][0]) / (len(ticks) - 1) if len(ticks) > 1 else None
        reason = failures[0][1] if failures else None
        if reason is None and len(ticks) < FEWEST_TICKS:
            reason = f"the sensor moved {len(ticks)} times in {end - start:.1f} s"
        if self.sensor.counts and any(b[1] < a[1] for a, b in zip(ticks, ticks[1:])):
            reason = "the energy counter went back"
        if reason is not None:
            return None, len(ticks), tick_s, reason
        if self.sensor.counts:  # from tick to tick it is exact; the load is steady
            watts = (ticks[-1][1] - ticks[0][1]) / (ticks[-1][0] - ticks[0][0])
            return watts * (end - start), len(ticks), tick_s, None
        return integrate(self.samples, start, end), len(ticks), tick_s, None


def _within(events, start, end=math.inf):
    return [event for event in events if start <= event[0] <= end]


def integrate(samples, start, end):
    """Joules in [start, end] of power samples [(s, W)], linear between, held beyond the ends."""
    points = [(start, power_at(samples, start))]
    points += [sample for sample in samples if start < sample[0] < end]
    points.append((end, power_at(samples, end)))
    return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in zip(points, points[1:]))


def power_at(samples, time_s):
    before = [sample for sample in samples if sample[0] <= time_s]
    after = [sample for sample in samples if sample[0] > time_s]
    if not before or not after:
        return before[-1][1] if before else after[0][1]
    (t0, w0), (t1, w1) = before[-1], after[0]
    return w0 + (w1 - w0) * (time_s - t0) / (t1 - t0)


def measure(work, seconds, sampler=None, clock=time.perf_counter):
    """A Window of `work` again and again: `seconds` at least, longer for a slow sensor."""
    laps, start = [], clock()
    while True:
        begun = clock()
        work()
        end = clock()
        laps.append(end - begun)
        if end - start < seconds:
            continue
        if sampler is None or end - start >= PATIENCE * seconds or sampler.settled(start):
            break
    found = sampler.energy(start, end) if sampler else (None, None, None, None)
    return Window(laps, end - start, *found)


# --- figures -------------------------------------------------------------------------------------


def figures(size, windows, idle_w):
    """The measured columns of one batch size from its windows."""
    laps = sorted(lap * 1e3 for window in windows for lap in window.laps_s)
    images = [len(window.laps_s) * size for window in windows]
    known = all(window.joules is not None for window in windows)
    joules = [w.joules / n for w, n in zip(windows, images)] if known else []
    mean, half = mean_interval(joules)
    above = None
    if known and idle_w is not None:
        each = [(w.joules - idle_w * w.seconds) / n for w, n in zip(windows, images)]
        above = sum(each) / len(each)
    ticks = [window.ticks for window in windows if window.ticks is not None]
    lengths = [window.tick_s for window in windows if window.tick_s is not None]
    return {
        "batch_size": size,
        "latency_ms": sum(laps) / len(laps),
        "latency_sd_ms": deviation(laps),
        "latency_p50_ms": percentile(laps, 50),
        "latency_p95_ms": percentile(laps, 95),
        "latency_p99_ms": percentile(laps, 99),
        "runs": len(laps),
        "energy_j": mean,
        "energy_low_j": None if half is None else mean - half,
        "energy_high_j": None if half is None else mean + half,
        "energy_above_idle_j": above,
        "windows": len(windows),
        "window_s": sum(window.seconds for window in windows) / len(windows),
        "ticks": sum(ticks) if ticks else None,
        "tick_s": sum(lengths) / len(lengths) if lengths else None,
        "reason": next((window.reason for window in windows if window.reason), None),
    }


def percentile(ordered, percent):
    """Of ascending values, linear between them."""
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def deviation(values):
    """Sample SD; None for a single value."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def mean_interval(values):
    """(mean, 95 % half-width by Student's t); None where unknown."""
    n = len(values)
    if not n:
        return None, None
    half = student(n - 1) * deviation(values) / math.sqrt(n) if n > 1 else None
    return sum(values) / n, half


def student(freedom):
    """Student's t; beyond the table by its expansion in 1/freedom (Abramowitz, Stegun 26.7.5)."""
    if freedom <= len(T95):
        return T95[freedom - 1]
    z = Z95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


# --- models --------------------------------------------------------------------------------------


def load(torch, name, file, device):
    """A module in eval mode on the device, from TorchScript or, without a file, torchvision."""
    if file is None:
        return _torchvision(name)().to(device).eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer torch deprecates what old boards need
            return torch.jit.load(file, map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        message = f"cannot load {file} ({_line(error)}): give what torch.jit.save wrote"
        raise RequestError(message) from error


def _torchvision(name):
    try:
        from torchvision import models
    except ImportError as error:
        message = "--models needs torchvision: install it, or give --torchscript FILE"
        raise RequestError(message) from error
    makers = {
        key: value
        for key, value in vars(models).items()
        if type(value).__name__ == "function" and key.islower() and key.split("_")[0] not in OTHERS
    }
    if name not in makers:
        known = ", ".join(sorted(makers))
        raise RequestError(f"torchvision has no model {name!r}: choose from {known}")
    return makers[name]


def batch_work(torch, module, size, shape, device, dtype):
    """A call that runs one batch and brings its outputs to the host."""
    batch = torch.randn(size, *shape).to(device, dtype)

    def work():
        _fetch(module(batch))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return work


def _fetch(output):
    if hasattr(output, "cpu"):
        output.cpu()
    else:
        for each in output.values() if isinstance(output, dict) else output:
            _fetch(each)


def preflight(torch, name, make_work, sizes, device):
    """{batch size: peak bytes or None}: each ran once; those beyond memory are left out."""
    found = {}
    for size in sizes:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            make_work(size)()
        except Exception as error:  # whatever a stranger's model raises
            if not any(hint in str(error).lower() for hint in OUT_OF_MEMORY):
                message = f"{name} fails on a batch of {size} ({_line(error)}): check --input"
                raise RequestError(message) from error
            say(f"{name}: batch {size} and above left out: out of memory")
            break
        found[size] = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    if not found:
        raise RequestError(f"{name} does not fit into memory: give smaller --batch-sizes")
    return found


def probe(torch, name, module, options, device, sampler):
    """The rows of one model: windows of its batch sizes in shuffled order, idle before them."""
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    dtype = torch.float32 if first is None else first.dtype

    def make_work(size):
        return batch_work(torch, module, size, options.input, device, dtype)

    peaks = preflight(torch, name, make_work, options.batch_sizes, device)
    windows, idle_w = windows_of(name, make_work, sorted(peaks), options, sampler)
    common = {
        "model": name,
        "runtime": f"torch-{PRECISIONS.get(str(dtype)[6:], dtype)}-{device.type}",
        "component": "forward",
        "idle_w": idle_w,
        "parameters": sum(p.numel() for p in module.parameters()),
        "source": "probe",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return [
        dict(common, peak_memory_bytes=peaks[size], **figures(size, windows[size], idle_w))
        for size in sorted(peaks)
    ]


def windows_of(name, make_work, sizes, options, sampler):
    """({batch size: its windows}, idle watts or None); the model is on the device throughout."""
    seconds, idle_w = options.seconds or BLIND_WINDOW_S, None
    if sampler:
        seconds = max(options.seconds or 0, SENSOR_WINDOW_S)
        time.sleep(SETTLE_S)
        idle = measure(lambda: time.sleep(POLL_S), seconds, sampler)
        idle_w = None if idle.joules is None else idle.joules / idle.seconds
    windows = {size: [] for size in sizes}
    for turn in range(options.windows):
        for size in random.Random(turn).sample(sizes, len(sizes)):
            work = make_work(size)
            for _ in range(FIRST_RUNS):
                work()
            measure(work, SETTLE_S if sampler else min(seconds, 0.2))
            windows[size].append(measure(work, seconds, sampler))
        say(f"{name}: round {turn + 1} of {options.windows}")
    return windows, idle_w


# --- the command ---------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise RequestError(message + " (see --help)")


def whole(text):
    """A whole number from 1 on."""
    if not (text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def shape_of(text):
    return tuple(whole(part) for part in text.lower().split("x"))


def sizes_of(text):
    return sorted({whole(part.strip()) for part in text.split(",")})


def positive(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return value


def parse(arguments):
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="probe.py", description=__doc__, formatter_class=layout)
    add = parser.add_argument
    add("--models", default="", metavar="NAME,...", help="torchvision's; random weights")
    add("--torchscript", nargs="+", default=[], metavar="[NAME=]FILE", help="named after the file")
    add("--input", type=shape_of, default="3x224x224", metavar="CxHxW", help="[3x224x224]")
    add("--batch-sizes", type=sizes_of, default="1,2,4,8,16,32,64", metavar="N,...", help="[to 64]")
    add("--device", help="cuda, cuda:1 or cpu [cuda where there is one]")
    add("--device-name", help="what the column `device` says [the board, GPU or CPU]")
    add("--seconds", type=positive, help="a window [0.5; with a sensor 5, which is the least]")
    add("--windows", type=whole, default=3, help="per batch size; 2 or more give intervals [3]")
    add("--root", default="/", help="where sys/ and proc/ lie [/]")
    add("--out", default="costs.csv", metavar="FILE.csv", help="[costs.csv]")
    return parser.parse_args(arguments)


def subjects(options):
    """{name: file, or None for torchvision's}."""
    found = [(name.strip(), None) for name in options.models.split(",") if name.strip()]
    for given in options.torchscript:
        name, equals, file = given.partition("=")
        if not equals or os.path.exists(given):
            name, file = os.path.splitext(os.path.basename(given))[0], given
        if not os.path.isfile(file):
            raise RequestError(f"no file {file}: check --torchscript")
        found.append((name, file))
    names = [name for name, _ in found]
    if not found:
        raise RequestError("nothing to measure: give --models NAME,... or --torchscript FILE...")
    if "" in names or len(set(names)) < len(names):
        listed = ", ".join(map(repr, names))
        raise RequestError(f"each model needs a name of its own, not {listed}: write NAME=FILE")
    return dict(found)


def open_device(torch, text):
    try:
        device = torch.device(text or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise RequestError(f"unknown --device {text!r}: give cuda, cuda:1 or cpu") from error
    if device.type not in ("cuda", "cpu"):
        raise RequestError(f"--device {text} is not measured here: give cuda, cuda:1 or cpu")
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise RequestError(f"--device {text}, but torch sees {gpus} GPUs: give another, or cpu")
    return device


def device_name(torch, device, root):
    board = _text(os.path.join(root, "proc/device-tree/model"))
    if device.type == "cuda":
        return board or torch.cuda.get_device_name(device)
    cpu = f"cpu, {torch.get_num_threads()} threads"
    return f"{board}, {cpu}" if board else cpu


def write(path, rows):
    """The whole file anew; an unknown figure is an empty cell."""
    partial = path + ".partial"
    try:
        with open(partial, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, path)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; check --out") from error


def say(message):
    print("probe: " + message, file=sys.stderr, flush=True)


def _line(error):
    """The cause: the first line, or the last where newer TorchScript begins with a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    return lines[-1 if lines[0].startswith("The following operation failed") else 0][:120]


def open_torch():
    """The module, with fp32 meaning fp32."""
    try:
        import torch
    except ImportError as error:
        message = f"no torch for {sys.executable} ({error}): use the Python that has it"
        raise RequestError(message) from error
    for backend in (getattr(torch.backends.cuda, "matmul", None), torch.backends.cudnn):
        if hasattr(backend, "allow_tf32"):
            backend.allow_tf32 = False
    return torch


def run(options):
    files = subjects(options)
    folder = os.path.dirname(options.out) or "."
    if os.path.isdir(options.out) or not os.access(folder, os.W_OK):
        raise RequestError(f"cannot write {options.out}: check --out")
    torch = open_torch()
    device = open_device(torch, options.device)
    sensor, missing = find_sensor(options.root, device)
    about = {
        "device": options.device_name or device_name(torch, device, options.root),
        "meter": sensor.meter if sensor else "none",
        "scope": sensor.scope if sensor else None,
        "warnings": sensor.note if sensor else None,
    }
    say(about["device"] + ", " + (missing or "sensor " + sensor.meter))
    rows = []
    with torch.no_grad():
        for name, file in files.items():
            module = load(torch, name, file, device)
            if sensor:
                with Sampler(sensor) as sampler:
                    found = probe(torch, name, module, options, device, sampler)
            else:
                found = probe(torch, name, module, options, device, None)
                about["reason"] = missing
            rows += [dict(row, **about) for row in found]
            write(options.out, rows)
    say(f"{len(rows)} rows in {options.out}")


def main(arguments=None):
    """Exit status: 0 done, 2 the request is wrong, 130 interrupted."""
    try:
        run(parse(arguments))
    except RequestError as error:
        say(" ".join(str(error).split()))
        return 2
    except KeyboardInterrupt:
        say("interrupted: the models that were done are written")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
