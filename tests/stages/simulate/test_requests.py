"""What a stream of turned images lacks is told at once, with the commands that make it."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from helpers import tied_logits, write_logits, write_samples
from running import cascade

from cache import Store

ASKED = ("-m1", "small", "-m2", "large", "-t", "0.5", "-d", "1", "-r", "1", "--dataset", "toy")


@pytest.mark.parametrize(("origin", "weights"), [("directory", ["DIR"]), ("shipped", [])])
@pytest.mark.parametrize("memory", [(), ("--memory", "canonical-dhash")])
def test_all_that_turned_copies_lack_is_one_message(tmp_path, origin, weights, memory):
    store, labels = Store(tmp_path / "c"), np.arange(40) % 4
    write_samples(store, "test", labels)
    rng, about = np.random.default_rng(0), {"weights_origin": origin}
    for model, variant in (("small", "identity"), ("large", "identity"), ("small", "rot90")):
        how = {"variant": variant, "provenance": about}
        write_logits(store, "test", model, labels, tied_logits(rng, 40), **how)
    done = cascade("simulate", *ASKED, *memory, "--cache", store.root)
    assert (done.status, done.out) == (2, "")
    extract, *rest = done.err.partition("run `")[2].rstrip("`\n").split(" && ")
    words = shlex.split(extract)
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given["--models"] == "small,large"
    assert given["--variants"] == "rot90,rot180,rot270,flip"
    assert [given[flag] for flag in ("--weights",) if flag in given] == weights
    assert len(rest) == bool(memory)
    if memory:
        hashed = dict(zip(shlex.split(rest[0])[2::2], shlex.split(rest[0])[3::2], strict=True))
        assert hashed["--variants"] == "identity,rot90,rot180,rot270,flip"
        assert hashed["--algorithms"] == "canonical-dhash"
