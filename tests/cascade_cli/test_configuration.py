"""cascade.toml and $CASCADE_OPTION: what they set, what outranks what, and what they refuse."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
import typer
from helpers import make_cache
from running import cascade
from sealing import modes_hold

from cascade_cli.inputs import settings, settings_place
from cascade_cli.removed import REMOVED

PAIR = ("-m1", "small", "-m2", "large")


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    """A folder with a small cache in it, and no configuration of the machine's own."""
    make_cache(tmp_path / "cache", n=60)
    folder = tmp_path / "deep" / "desk"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in ("CASCADE_CACHE", "CASCADE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return folder


def write(folder, text):
    (folder / "cascade.toml").write_text(text)


def thresholds(*args):
    return cascade("threshold", *PAIR, *args, "--json").json["rows"]


def test_without_a_configuration_nothing_is_read(desk):
    assert not settings_place.any_settings()
    done = cascade("config", "--json")
    assert done.json == {"file": None, "settings": []}


def test_flags_outrank_variables_outrank_sections_outrank_defaults(desk, tmp_path, monkeypatch):
    write(
        desk,
        f"""
        [defaults]
        cache = "{tmp_path / "cache"}"
        dataset = "toy"
        scorefn = "entropy"
        """,
    )
    assert {row["score"] for row in thresholds()} == {"entropy"}
    with open(desk / "cascade.toml", "a") as file:
        file.write('[threshold]\nscorefn = ["maxp", "difference"]\nobjective = "1se"\n')
    rows = thresholds()
    assert {row["score"] for row in rows} == {"maxp", "difference"}
    assert {row["objective"] for row in rows} == {"1se"}
    monkeypatch.setenv("CASCADE_SCOREFN", "difference")
    assert {row["score"] for row in thresholds()} == {"difference"}
    assert {row["score"] for row in thresholds("-s", "maxp")} == {"maxp"}
    # the section is that of threshold alone
    assert cascade("simulate", *PAIR, "--json").json["score"] == "difference"
    monkeypatch.delenv("CASCADE_SCOREFN")
    assert cascade("simulate", *PAIR, "--json").json["score"] == "entropy"


@pytest.mark.parametrize(
    "args",
    [
        ("export", "-o", "wide.csv"),
        ("export", "--publish", "copy"),
        ("export", "--policy", "policy", *PAIR),
        ("heterogeneity",),
        ("heterogeneity", "--predict"),
        ("search",),
        ("simulate", *PAIR, "-t", "0.5"),
        ("threshold", *PAIR),
    ],
    ids=" ".join,
)
def test_a_default_that_says_nothing_to_a_command_is_left_alone(desk, tmp_path, args):
    write(
        desk,
        f"""
        [defaults]
        cache = "{tmp_path / "cache"}"
        dataset = "toy"
        models = ["small", "other"]
        fit-split = "val"
        tier = "scores"
        objective = "1se"
        memory-trust = 0.5
        metric = "kappa"
        resamples = 50
        memory-size = 3
        bound = "betting"
        """,
    )
    done = cascade(*args)
    assert done.status == 0, done.err


def test_a_flag_outranks_what_is_configured_of_another(desk, tmp_path):
    write(desk, f'[defaults]\ncache = "{tmp_path / "cache"}"\ndataset = "toy"\nsplit = "val"\n')
    assert "on toy/train" in cascade("heterogeneity", "-t").refusal
    where = ("--cache", tmp_path / "cache", "--dataset", "toy")
    write(desk, "[simulate]\nthreshold = 0.5\n")
    assert cascade("simulate", *PAIR, *where, "--json").json["fit_split"] is None
    fitted = ("--fit-split", "val", "--json")
    assert cascade("simulate", *PAIR, *where, *fitted).json["fit_split"] == "val"


def test_flags_that_are_switches(desk, tmp_path, monkeypatch):
    monkeypatch.setenv("CASCADE_DATASET", "toy")
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "cache"))
    write(desk, "[threshold]\npostcheck = true\n")
    assert {row["postcheck"] for row in thresholds()} == {True}
    assert {row["postcheck"] for row in thresholds("--no-postcheck")} == {False}
    monkeypatch.setenv("CASCADE_POSTCHECK", "0")
    assert {row["postcheck"] for row in thresholds()} == {False}
    monkeypatch.setenv("CASCADE_POSTCHECK", "maybe")
    assert "CASCADE_POSTCHECK='maybe'" in cascade("threshold", *PAIR).refusal


def test_names_as_flags_or_with_underscores(desk, tmp_path):
    text = '[defaults]\ncache = "{}"\n[simulate]\n{} = "always"\nthreshold = 0.5\n'
    for key in ("cost-device", "cost_device"):
        write(desk, text.format(tmp_path / "cache", key))
        found = cascade("config", "simulate", "--json").json["settings"]
        assert [row["option"] for row in found] == ["cache", "cost-device", "threshold"]


def test_numbers_and_groups(desk, tmp_path):
    write(
        desk,
        f"""
        [defaults]
        cache = "{tmp_path / "cache"}"
        [simulate]
        dataset = "toy"
        threshold = 0.5
        seed = 3
        ["cache ls"]
        table = "samples"
        """,
    )
    found = cascade("simulate", *PAIR, "--json").json
    assert (found["threshold"], found["seed"]) == (0.5, 3)
    rows = cascade("cache", "ls", "--json").json["partitions"]
    assert {row["table"] for row in rows} == {"samples"}


def test_the_nearest_file_counts(desk, tmp_path, monkeypatch):
    write(tmp_path, '[defaults]\ndataset = "far"\n')
    assert cascade("config", "--json").json["file"] == str(tmp_path / "cascade.toml")
    write(desk, '[defaults]\ndataset = "near"\n')
    assert cascade("config", "--json").json["file"] == str(desk / "cascade.toml")
    write(desk.parent, '[defaults]\ndataset = "named"\n')
    monkeypatch.setenv("CASCADE_CONFIG", str(desk.parent / "cascade.toml"))
    values = {row["value"] for row in cascade("config", "--json").json["settings"]}
    assert values == {"named"}
    monkeypatch.setenv("CASCADE_CONFIG", "")  # none at all
    assert cascade("config", "--json").json == {"file": None, "settings": []}


def test_config_tells_where_each_value_stands(desk, monkeypatch):
    write(desk, '[defaults]\nalpha = 0.1\n[check]\nsplit = "val"\n')
    monkeypatch.setenv("CASCADE_RUNTIME", "torch-fp32-cuda")
    found = cascade("config", "check", "--json").json["settings"]
    told = {row["option"]: (row["value"], row["source"]) for row in found}
    file = desk / "cascade.toml"
    assert told == {
        "alpha": (0.1, f"{file} [defaults]"),
        "split": ("val", f"{file} [check]"),
        "runtime": ("torch-fp32-cuda", "$CASCADE_RUNTIME"),
    }
    shown = cascade("config", "check").out
    assert "$CASCADE_RUNTIME" in shown
    assert str(file) in shown
    assert "did you mean 'check'" in cascade("config", "chek").refusal
    lines = cascade("config").out.splitlines()[2:]
    many = [line.split() for line in lines if line.endswith("$CASCADE_RUNTIME")]
    assert many == [[many[0][0], "commands", "runtime", "torch-fp32-cuda", "$CASCADE_RUNTIME"]]
    every = [
        row for row in cascade("config", "--json").json["settings"] if row["option"] == "runtime"
    ]
    assert int(many[0][0]) == len(every) > 10
    assert [line.split()[:2] for line in lines if "[check]" in line] == [["check", "split"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[thresold]\n", "unknown section of {} 'thresold': did you mean 'threshold'?"),
        ("[threshold]\nobjektive = 1\n", "'objektive': did you mean 'objective'?"),
        *(
            (f"[{name}]\nsplit = 'val'\n", f"{{}}, section [{name}]: {name} {instead}")
            for name, instead in REMOVED.items()
        ),
        ("[defaults]\nscorfn = 1\n", "'scorfn': did you mean 'scorefn'?"),
        ("[threshold]\nmemory = 'dhash'\n", "unknown key in {} [threshold] 'memory'"),
        ("[threshold]\npostcheck = 1\n", "give true or false"),
        ("[threshold.more]\na = 1\n", "more"),
        ("scorefn = 'maxp'\n", "unknown section"),
        ("threshold = 'maxp'\n", "is no section"),
        ("[threshold\n", "is no TOML"),
        ("a = " + "[" * 3000, "is no TOML"),
        ("[threshold]\nobjective = 'bst'\n", "did you mean 'best'"),
    ],
)
def test_wrong_files_are_one_line(desk, tmp_path, text, words):
    write(desk, text)
    refusal = cascade("threshold", "-d", "toy", "--cache", tmp_path / "cache").refusal
    assert words.format(desk / "cascade.toml") in refusal


@pytest.mark.parametrize("args", [(), ("--help",), ("--version",), ("threshold", "-h")])
def test_help_and_version_need_no_right_file(desk, args):
    usual = cascade(*args)
    write(desk, "[thresold]\n")
    done = cascade(*args)
    assert (done.status, done.out) == (0, usual.out)
    assert "did you mean 'threshold'?" in done.err
    assert "did you mean 'threshold'?" in cascade("config").refusal


def test_what_is_removed_is_said_each_time(desk, tmp_path, monkeypatch):
    write(desk, f'[defaults]\ncache = "{tmp_path / "cache"}"\ndataset = "toy"\n')
    monkeypatch.setenv("CASCADE_SPLIT", "test")
    before = sorted((tmp_path / "cache").rglob("*"))
    assert "nothing says what to remove" in cascade("cache", "rm", "--yes").refusal
    assert before == sorted((tmp_path / "cache").rglob("*"))
    rows = cascade("cache", "rm", "--model", "small", "--yes", "--json").json["removed"]
    assert {row["split"] for row in rows} == {"test", "val"}
    write(desk, '["cache rm"]\ndataset = "toy"\n')
    assert "unknown key" in cascade("config").refusal


def test_named_file_that_is_not_there(desk, monkeypatch):
    monkeypatch.setenv("CASCADE_CONFIG", "nowhere.toml")
    assert "cannot read nowhere.toml: No such file or directory" in cascade("config").refusal


def _fifo(path):
    os.mkfifo(path)


def _zeros(path):
    """A scratch copy of what /dev/zero is, which never ends; only root makes one."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no permission to make a device")


def _large(path):
    path.write_bytes(b"#" * ((1 << 20) + 1))


def _dangling(path):
    path.symlink_to("nowhere")


NO_FILE = {
    "a folder": (Path.mkdir, "Is a directory"),
    "a FIFO": (_fifo, "it is a FIFO, not a regular file"),
    "a device": (_zeros, "it is a device, not a regular file"),
    "too large": (_large, "it is larger than 1 MiB"),
    "a link to nothing": (_dangling, "No such file or directory"),
}


@pytest.mark.parametrize("name", NO_FILE)
def test_what_is_no_file_of_options_is_refused(desk, name):
    make, told = NO_FILE[name]
    make(desk / "cascade.toml")
    for command in (("config",), ("cache", "ls"), ("models", "--json")):
        line = cascade(*command).refusal
        assert line == f"cascade: cannot read {desk / 'cascade.toml'}: {told}; check the path"
    assert cascade("--version").status == 0


MANY = 20_000
HOSTILE = {
    "a key of 20,000 parts": ("a" + ".a" * MANY + " = 1", "line 1: a key of more than 32 parts"),
    "a section of 20,000 parts": ("\n[a" + " . a" * MANY + "]", "line 2: a key of more than"),
    "quoted parts": ("x = {'a'" + ".'a'" * MANY + " = 1}", "line 1: a key of more than 32 parts"),
    "20,000 dotted keys": ("".join(f"a{i}.b.c = 1\n" for i in range(MANY)), "unknown section"),
    "lists nested 5,000 deep": ("a = " + "[" * 5000 + "]" * 5000, "is no TOML"),
    "tables nested 5,000 deep": ("a = " + "{a = " * 5000 + "1" + "}" * 5000, "is no TOML"),
    "tables nested 30 deep": ("[threshold]\nobjective" + ".a" * 30 + " = 1", "is not understood"),
    "lists of lists": ("[threshold]\nobjective = [['a']]", "is not understood"),
    "a number of 12,000 digits": ("[threshold]\nn_threshold_values = 0x" + "f" * 10000, "digits"),
    "a name of 100,000 letters": ("[" + "a" * 100_000 + "]", "unknown section"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_is_read_within_bounds(desk, name):
    text, words = HOSTILE[name]
    write(desk, text)
    begin = time.thread_time()  # other threads of the tests work, too
    line = cascade("config").refusal
    assert time.thread_time() - begin < 20  # unbounded, a key of many parts takes minutes
    assert words in line
    assert len(line) < 1000


def test_a_key_of_few_parts_and_a_text_of_many_dots(desk, tmp_path):
    dots = ".".join("ab" * 20)
    write(desk, f"[defaults]\ncache = '{tmp_path}/{dots[:60]}'\nthreshold.x = 1\n")
    assert "threshold" in cascade("config").refusal
    write(desk, f"[defaults]\ncache = '{tmp_path}/{dots[:60]}'\n")
    found = cascade("config", "score", "--json").json["settings"]
    assert [row["value"] for row in found] == [f"{tmp_path}/{dots[:60]}"]


def test_an_empty_cache_name(desk, tmp_path, monkeypatch):
    """A flag or a key that says nothing is refused; a variable that is empty is none."""
    told = "cascade: the cache's name is empty: name a folder or URI with --cache, or nothing"
    write(desk, '[defaults]\ncache = ""\n')
    assert cascade("models").refusal == told
    write(desk, f'[defaults]\ncache = "{tmp_path / "cache"}"\n')
    monkeypatch.setenv("CASCADE_CACHE", "")
    assert cascade("cache", "ls", "--json").json["cache"] == str(tmp_path / "cache")
    (desk / "cascade.toml").unlink()
    assert "no cache at artifacts" in cascade("cache", "ls").refusal
    assert cascade("cache", "ls", "--cache", "").refusal == told


def test_every_option_of_every_command_can_be_set():
    """By each of its long names; nothing that is not asked for by a flag can be."""
    from cascade_cli.main import app

    found = settings.commands(typer.main.get_command(app))
    assert {"threshold", "cache ls", "live", "config"} <= set(found)
    assert {"filepath", "data", "n-threshold-values", "json"} <= set(found["threshold"])
    assert "help" not in found["threshold"]
    assert "policy" not in found["check"]  # an argument


def test_folders_that_may_not_be_read_hold_no_file(tmp_path, monkeypatch):
    shut = tmp_path / "shut"
    (shut / "here").mkdir(parents=True)
    (shut / "cascade.toml").write_text("[search]\n")
    monkeypatch.chdir(shut / "here")
    monkeypatch.delenv(settings_place.VARIABLE, raising=False)
    assert settings_place.file_in_force() == str(shut / "cascade.toml")
    shut.chmod(0)
    try:
        with modes_hold():
            assert settings_place.file_in_force() is None
    finally:
        shut.chmod(0o755)
