"""Hashes of installed packages: used like those built in, never mixed, blamed in one line."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from plugged import installed
from running import ROOT, cascade

from cache import Partition, Store, load
from stages.hashes import HASHES, hash_keys

ENTRIES = {"cascade.hashes": {"mean": "mean_hash:ADDED"}}
HEAD = "import numpy as np\nfrom stages.hashes import Hash\n"
# What dhash gives, by another name, and the same with other bits.
TWIN = (
    HEAD
    + """
from stages.hashes import hash_of

def twin(pictures):
    return hash_of("dhash").digest(pictures) ^ {mask}

ADDED = [Hash("twin", 64, 8, twin)]
"""
)
PAIR = ("-m1", "digits_wide", "-m2", "digits_residual", "--runtime", "torch-fp32-cpu")


@pytest.fixture
def digits(tmp_path):
    root = tmp_path / "cache"
    shutil.copytree(ROOT / "tests" / "golden" / "cache", root)
    return root


def add(desk, code, version="1.0"):
    return installed(desk, {"mean_hash": code}, ENTRIES, "mean-hashes", version)


def hashed(root, variant="identity"):
    keys = {"split": "test", "variant": variant, "algorithm": "twin"}
    return load(Store(root), Partition.of("hashes", dataset="digits", **keys))


def test_a_twin_does_what_the_built_in_one_does(tmp_path, digits):
    names = ("hash", "-d", "digits", "--split", "test", "--cache", digits, "--no-profile", "--json")
    with add(tmp_path, TWIN.format(mask=0)):
        rows = cascade(*names, "--algorithms", "twin,dhash").json["hashes"]
        assert len({row["distinct"] for row in rows}) == 1
        asked = ("simulate", *PAIR, "-d", "1", "--cache", digits, "--memory-radius", "2", "--json")
        ours, theirs = (cascade(*asked, "--memory", name).json for name in ("twin", "dhash"))
        same = ("n", "hits", "false_hits", "accuracy", "usage", "memory_entries")
        assert [ours[key] for key in same] == [theirs[key] for key in same]
        assert ours["hits"] > 0
        unasked = cascade(*names, "--algorithms", "all-available").json["hashes"]
    assert "twin" not in {row["algorithm"] for row in unasked}


def test_keys_of_another_version_are_made_again(tmp_path, digits):
    names = (
        "hash",
        "-d",
        "digits",
        "--split",
        "test",
        "--cache",
        digits,
        "--no-profile",
        "--algorithms",
        "twin",
    )
    simulate = ("simulate", *PAIR, "--cache", digits, "--memory", "twin", "--json")
    with add(tmp_path, TWIN.format(mask=0)):
        assert cascade(*names).status == 0
    first = hashed(digits)
    with add(tmp_path, TWIN.format(mask=255), "1.1"):
        assert cascade(*simulate).status == 0
        second = hashed(digits)
        [again] = cascade(*names, "--json").json["hashes"]
    made_by = first.identity["made_by"], second.identity["made_by"]
    assert [(each["package"], each["version"]) for each in made_by] == [
        ("mean-hashes", "1.0"),
        ("mean-hashes", "1.1"),
    ]
    assert again["resumed_rows"] == again["rows"] == 500
    source = hash_keys(Store(digits), load_dhash(digits))
    assert (hash_keys(Store(digits), second) == source ^ 255).all()


def load_dhash(root):
    assert cascade("hash", "-d", "digits", "--cache", root, "--algorithms", "dhash").status == 0
    keys = {"split": "test", "variant": "identity", "algorithm": "dhash"}
    return load(Store(root), Partition.of("hashes", dataset="digits", **keys))


def test_live_recognises_by_it(tmp_path, digits):
    pytest.importorskip("torch")
    asked = ("live", *PAIR[:4], "-d", "1", "--limit", "40", "--batch-size", "10", "--no-alone")
    with add(tmp_path, TWIN.format(mask=0)):
        found = [
            cascade(
                *asked, "--order", "shuffled", "--memory", name, "--cache", digits, "--json"
            ).json
            for name in ("twin", "dhash")
        ]
    ours, theirs = ([one[key] for key in ("n", "hits", "accuracy", "usage")] for one in found)
    assert ours == theirs
    assert found[0]["agreement"]["outside_noise"] == 0


def test_a_policy_names_it_and_takes_it_from_the_application(tmp_path, digits):
    folder = tmp_path / "policy"
    with add(tmp_path, TWIN.format(mask=0)):
        done = cascade(
            *("export", "--policy", folder, *PAIR, "--memory", "twin", "--cache", digits)
        )
        assert done.status == 0, done.err
        assert cascade("check", folder, "--cache", digits).status in (0, 1)
    text = (folder / "policy.toml").read_text(encoding="utf-8")
    assert 'hash = "twin"' in text
    assert 'mean-hashes = "1.0"' in text
    space = {}
    exec((folder / "cascade_policy.py").read_text(encoding="utf-8"), space)
    with pytest.raises(ValueError, match="a memory needs a digest: pass the hash twin"):
        space["Cascade"].load(folder)
    ready = space["Cascade"].load(folder, digest=HASHES["dhash"].digest_each)
    picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    logits = np.eye(10)[:1]
    seen = [ready.answer(lambda x: logits, lambda x: logits, picture, picture) for _ in range(2)]
    assert [each.hit.tolist() for each in seen] == [[False], [True]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pictures[:, :2, 0]", r"gives uint8 \[\d+, 2\] for \d+ pictures, not uint8 \[\d+, 4\]"),
        ("np.zeros((len(pictures), 4))", r"gives float64 \[\d+, 4\] for"),
        ("None", r"gives object \[\] for"),
        ("pictures.sort()", r"fails, ValueError: .*read-only"),
        ("[][0]", r"fails, IndexError: list index out of range"),
    ],
)
def test_a_wrong_function_is_told_in_one_line(tmp_path, body, message):
    code = f"{HEAD}def of(pictures):\n    return {body}\nADDED = [Hash('odd', None, 4, of)]\n"
    with add(tmp_path, code):
        asked = ("hash", "-d", "digits", "--cache", tmp_path / "c", "--no-profile")
        refusal = cascade(*asked, "--algorithms", "odd").refusal
    assert "package mean-hashes: its hash odd " in refusal
    assert re.search(message, refusal)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("Hash('dhash', 64, 8, len)", "it adds the hash dhash, which is taken"),
        ("Hash('invariants-3', 64, 8, len)", "it adds the hash invariants-3, which is taken"),
        ("Hash('a,b', 64, 8, len)", "its hash's name 'a,b' is none"),
        ("Hash('odd', 65, 8, len)", "its hash odd counts 65 bits of 8 bytes"),
        ("Hash('odd', None, 0, len)", "its hash odd counts None bits of 0 bytes"),
        ("Hash('odd', None, 8, 3)", "has function 3, not"),
        ("Hash('odd', None, 8, len, {'a': len})", "has parameters that are no JSON"),
        ("3", "it gives a int, not a Hash"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_package_that_is_broken_is_named_and_only_where_asked(tmp_path, item, message):
    with add(tmp_path, f"{HEAD}ADDED = [{item}]\n"):
        asked = ("hash", "-d", "digits", "--cache", tmp_path / "c", "--no-profile")
        refusal = cascade(*asked, "--algorithms", "oddest").refusal
        assert cascade(*asked, "--algorithms", "dhash").status == 0
    assert "package mean-hashes" in refusal
    assert message in refusal
