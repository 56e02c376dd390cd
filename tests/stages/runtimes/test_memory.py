"""Memory that is kept costs no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from running import ROOT

pytest.importorskip("torch")
resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc than glibc")

PAGES = 2**26 // 4096
CODE = """
import resource
import torch
from stages.runtimes import Runner
from stages.runtimes import Preprocessing

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(2**26, dtype=torch.uint8).add_(1)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 4

usual = faults()
Runner.of(torch.nn.Identity(), Preprocessing((0.0,), (1.0,)), torch.device("cpu"))
faults()
print(usual, min(faults() for _ in range(3)))  # a busy machine takes pages back
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_runner_on_the_cpu_keeps_what_it_frees():
    """In a process of its own, as the setting is the process's."""
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    usual, kept = map(int, done.stdout.split())
    assert kept < min(usual, PAGES) / 10, done.stdout
