"""`--devices`: a worker process per device; same rows, whatever dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import INTERRUPTED, ROOT, cascade, seeded_weights

from cache import InputError

torch = pytest.importorskip("torch")

from extracting import CPU, PAIR, PART, rows_of, run  # noqa: E402

from stages.extract.processes import _ended  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]  # each imports torch

TWO = (CPU, CPU)
SHORT = 4  # images of a part: so many that the run can be caught in the middle


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of one process, by the images of a part."""
    found = {}
    for rows in (PART, SHORT):
        root = tmp_path_factory.mktemp(f"whole-{rows}")
        run(root, part_rows=rows)
        found[rows] = rows_of(root)
    return found


def test_two_processes_give_the_same_rows(whole, tmp_path):
    done = []
    run(tmp_path, devices=TWO, progress=lambda images, total: done.append((images, total)))
    assert rows_of(tmp_path) == whole[PART]
    assert done[-1] == (500, 500)
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_one_line_and_the_run_resumes(whole, tmp_path):
    killed = []

    def kill(done, total):
        if not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(InputError, match=r"was killed by SIGKILL \(out of memory\?\): run the"):
        run(tmp_path, devices=TWO, part_rows=SHORT, progress=kill)
    assert multiprocessing.active_children() == []
    rows = run(tmp_path, part_rows=SHORT)
    assert rows_of(tmp_path) == whole[SHORT]
    assert all(row.resumed_rows > 0 for row in rows)


def test_what_a_worker_refuses_is_one_line(tmp_path):
    file = seeded_weights(tmp_path / "w.pt", "digits_wide")
    state = torch.load(file, weights_only=True)
    torch.save({name: 1e30 * tensor for name, tensor in state.items()}, file)
    done = cascade(
        *("extract", "--model", f"huge=digits_wide:{file}", "--split", "test"),
        *("--devices", "cpu,cpu", "--part-rows", PART, "--cache", tmp_path / "c"),
    )
    assert "huge gives a NaN or infinite logit on digits/test sample" in done.refusal


def test_how_a_process_ended():
    assert _ended(3) == "ended with exit code 3"
    assert _ended(-15) == "was killed by SIGTERM"


# --- drivers that end ----------------------------------------------------------------------------

MARK = "TESTS_DRIVER"
ENGINES = {
    "processes": ["--devices", "cpu,cpu"],
    "ray": ["--engine", "ray", "--ray-workers", "2"],
}


def hears_ctrl_c():
    """Even where these tests run in a shell's background, which ignores it for all it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(params=ENGINES)
def driver(request, tmp_path):
    """`cascade extract` in a session of its own, in the middle of its work."""
    if request.param == "ray":
        pytest.importorskip("ray", reason="no Ray: install the extra [ray]")
    command = [
        *(sys.executable, "-m", "cascade_cli.main", "extract", "--models", ",".join(PAIR)),
        *("--split", "test", "--batch-size", "16", "--part-rows", str(SHORT), "--workers", "1"),
        *("--cache", tmp_path / "cache", "--no-profile", *ENGINES[request.param]),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: str(tmp_path)}
    env.pop("RAY_ADDRESS", None)
    with subprocess.Popen(
        [*map(str, command)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hears_ctrl_c,
    ) as process:
        until = time.monotonic() + 240
        while len(parts(tmp_path)) < 8 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        assert process.poll() is None, process.communicate()
        yield process
        process.kill()


def parts(root):
    return list((root / "cache").rglob("logits/**/*.parquet"))


def gone(root, seconds=60):
    """Whether all that the driver started ends soon, but for Ray's agents, which write nothing."""
    mark, until = f"{MARK}={root}".encode(), time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(mark in about(pid, "environ") for pid in pids() if not agent(pid)):
            return True
        time.sleep(0.1)
    return False


def pids():
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def about(pid, what):
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []


def agent(pid):
    return about(pid, "cmdline")[:1] in ([b"ray::DashboardAgent"], [b"ray::RuntimeEnvAgent"])


def resumes(root, whole):
    rows = run(root / "cache", part_rows=SHORT)
    assert rows_of(root / "cache") == whole[SHORT]
    assert all(0 < row.resumed_rows < 500 for row in rows)


def test_ctrl_c(driver, whole, tmp_path):
    """The terminal sends it to the driver and to all that it started."""
    os.killpg(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=120)
    assert (driver.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == f"cascade: {INTERRUPTED}"
    assert "Traceback" not in err
    assert "ray::" not in err
    assert gone(tmp_path)
    resumes(tmp_path, whole)


def test_a_killed_driver(driver, whole, tmp_path):
    """Its workers do not write on: nobody holds the lock any more."""
    driver.kill()
    driver.wait()
    assert gone(tmp_path)
    resumes(tmp_path, whole)
