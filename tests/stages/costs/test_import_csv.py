"""import-costs: what a CSV says is what the costs table holds, and a wrong row writes nothing."""

from __future__ import annotations

import csv
import io
import os
import stat
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from running import ROOT, cascade

from cache import COSTS, CostRow, Store
from stages import costs
from stages.costs.import_csv import COLUMNS, SPELLINGS
from stages.costs.units import scaled

FULL = {
    "model": "timm/tiny",
    "runtime": "tensorrt-fp16-cuda",
    "device": "Jetson Nano, 10 W",
    "component": "forward",
    "batch_size": 8,
    "meter": "joulescope",
    "latency_ms": 12.5,
    "latency_sd_ms": 0.0,
    "latency_p50_ms": 12.25,
    "latency_p95_ms": 13.0,
    "latency_p99_ms": 14.0,
    "runs": 400,
    "energy_j": 0.0625,
    "energy_low_j": -0.001,
    "energy_high_j": 0.075,
    "energy_above_idle_j": 0.03,
    "energy_above_idle_low_j": 0.02,
    "energy_above_idle_high_j": 0.04,
    "idle_w": 1.25,
    "energy_check_j": 0.0626,
    "windows": 5,
    "window_s": 5.5,
    "ticks": 2750,
    "tick_s": 0.002,
    "scope": "module",
    "reason": "fan λ “on”, never",
    "warnings": "one, two",
    "macs": 2**53 + 1,
    "parameters": 0,
    "peak_memory_bytes": 123456789,
    "source": "J. Doe, table 3",
    "measured": "2025-01-31T12:00:00+00:00",
    "weights_sha256": "0123456789abcdef" * 4,
}
GOOD = "model,device,batch_size,latency_ms,energy_j,source\ngood,nano,1,2.5,0.5,me\n"


def to_csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture
def load(tmp_path):
    """Import CSV text or bytes; the Result."""

    def run(content, *options, dataset="toy"):
        path = tmp_path / "rows.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        where = ("--cache", tmp_path / "cache", "--dataset", dataset)
        return cascade("import-costs", path, *where, *options)

    return run


def stored(tmp_path, *models, dataset="toy"):
    return costs.read(Store(tmp_path / "cache"), dataset, models)


def test_every_column_comes_back(load, tmp_path):
    assert set(FULL) == {"model", "runtime", *COSTS.names} == set(COLUMNS)
    assert load(to_csv([FULL]), "--json").json == {
        "dataset": "toy",
        "rows": 1,
        "models": [
            {
                "model": "timm/tiny",
                "runtime": "tensorrt-fp16-cuda",
                "rows": 1,
                "rows_with_energy": 1,
                "devices": ["Jetson Nano, 10 W"],
                "batch_sizes": [8],
                "implied_w": {"Jetson Nano, 10 W": {"low": 40.0, "high": 40.0}},
            }
        ],
    }
    assert stored(tmp_path, "timm/tiny") == {"timm/tiny": [CostRow(**FULL)]}


def test_the_fewest_columns_and_their_defaults(load, tmp_path):
    text = "batch_size,model,latency_ms,device\n4,a,3,nano\n1,a,1e0,nano\n"
    assert load(text, "--source", "trtexec 8.2").status == 0
    small, large = stored(tmp_path, "a")["a"]
    assert (small.batch_size, large.batch_size) == (1, 4)
    assert large == CostRow(
        model="a",
        runtime="elsewhere",
        device="nano",
        component="forward",
        batch_size=4,
        meter="elsewhere",
        latency_ms=3.0,
        reason="none in the imported file",
        source="trtexec 8.2",
    )


def test_options_fill_empty_cells_only(load, tmp_path):
    rows = ["a,x,1,1,paper,onnx", "a,x,2,1,,", "a,x,4,1,,"]
    text = "\n".join(["model,device,batch_size,energy_j,source,runtime", *rows])
    assert load(text, "--source", "me", "--runtime", "mine").status == 0
    found = [(row.source, row.runtime) for row in stored(tmp_path, "a")["a"]]
    assert sorted(found) == [("me", "mine"), ("me", "mine"), ("paper", "onnx")]


def test_a_row_of_the_same_key_is_replaced_and_others_stay(load, tmp_path):
    for batch_size, energy in ((1, 0.5), (2, 0.4), (1, 0.25)):
        text = f"model,device,batch_size,energy_j,source\na,x,{batch_size},{energy},me\n"
        assert load(text).status == 0
    assert load("model,device,batch_size,energy_j,source\na,x,1,9,other\n").status == 0
    found = {(row.batch_size, row.source): row.energy_j for row in stored(tmp_path, "a")["a"]}
    assert found == {(1, "me"): 0.25, (2, "me"): 0.4, (1, "other"): 9.0}


def test_what_pandas_writes(load, tmp_path):
    """Whole numbers beside missing ones come as floats, with a byte-order mark where asked for."""
    table = pd.DataFrame(
        {"model": "a", "device": "x", "batch_size": [1.0, 2.0], "energy_j": [0.1, None]}
    ).assign(latency_ms=[None, 7.1], runs=[None, 30], source="me")
    assert load(table.to_csv(index=False).encode("utf-8-sig")).status == 0
    rows = [
        (row.batch_size, row.energy_j, row.latency_ms, row.runs)
        for row in stored(tmp_path, "a")["a"]
    ]
    assert rows == [(1, 0.1, None, None), (2, None, 7.1, 30)]


@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("2025-01-31", "2025-01-31T00:00:00+00:00"),
        ("2025-01-31T12:00:00Z", "2025-01-31T12:00:00+00:00"),
        ("2025-01-31T12:00:00+02:00", "2025-01-31T10:00:00+00:00"),
    ],
)
def test_times_are_kept_in_utc(load, tmp_path, given, utc):
    load(f"model,device,batch_size,energy_j,source,measured\na,x,1,1,me,{given}\n")
    assert stored(tmp_path, "a")["a"][0].measured == utc


def test_the_dataset_follows_from_the_models(tmp_path):
    path = tmp_path / "rows.csv"
    where = ("--source", "me", "--cache", tmp_path / "cache", "--json")
    path.write_text("model,device,batch_size,energy_j\nresnet20,x,1,1\nresnet56,x,1,2\n")
    assert cascade("import-costs", path, *where).json["dataset"] == "cifar10"
    path.write_text("model,device,batch_size,energy_j\nresnet20,x,1,1\ndigits_wide,x,1,2\n")
    assert "cifar10, digits" in cascade("import-costs", path, *where).refusal
    path.write_text("model,device,batch_size,energy_j\nmine,x,1,1\n")
    assert "--dataset" in cascade("import-costs", path, *where).refusal


def changed(line=3, **cells):
    """GOOD with a second row that differs in these cells."""
    row = {"model": "bad", "device": "nano", "batch_size": 1, "latency_ms": 2, "energy_j": 1}
    row |= {"source": "me"} | cells
    first = dict.fromkeys(row, "") | dict(
        zip(GOOD.splitlines()[0].split(","), GOOD.splitlines()[1].split(","), strict=True)
    )
    return to_csv([first, row])


BAD_CELLS = [
    ({"batch_size": "0"}, "batch_size 0 is not positive"),
    ({"batch_size": "1.5"}, "batch_size 1.5 is no whole number"),
    ({"batch_size": "many"}, "batch_size 'many' is no finite number"),
    ({"batch_size": 2**31}, "batch_size 2147483648 is no whole number up to"),
    ({"runs": 2**63}, "runs 9223372036854775808 is no whole number up to"),
    ({"latency_ms": "-1"}, "latency_ms -1 is not positive"),
    ({"latency_ms": "nan"}, "latency_ms 'nan' is no finite number"),
    ({"latency_ms": "1e999"}, "is no finite number"),
    ({"latency_ms": "1_0"}, "is no finite number"),
    ({"latency_ms": "1,5"}, "'1,5' is no finite number"),
    ({"energy_j": "0"}, "energy_j 0 is not positive: mend it; an unknown one is an empty cell"),
    ({"energy_j": "inf"}, "energy_j 'inf' is no finite number"),
    ({"idle_w": "-2"}, "idle_w -2 is not positive"),
    ({"energy_above_idle_j": "x"}, "energy_above_idle_j 'x' is no finite number"),
    ({"energy_low_j": "2"}, "energy_low_j 2 exceeds energy_j 1"),
    ({"energy_high_j": "0.5"}, "energy_j 1 exceeds energy_high_j 0.5"),
    ({"energy_j": "", "energy_high_j": "1"}, "energy_high_j without energy_j"),
    ({"latency_p50_ms": "3", "latency_p99_ms": "2"}, "latency_p50_ms 3 exceeds latency_p99_ms 2"),
    ({"latency_ms": "", "energy_j": ""}, "neither latency_ms nor energy_j"),
    ({"component": "backward"}, "unknown component 'backward'"),
    ({"model": ""}, "no model"),
    ({"device": " "}, "no device"),
    ({"model": "../up"}, "looks like a path"),
    ({"runtime": "../up"}, "looks like a path"),
    ({"device": "a\tb"}, "device 'a\\tb' has unprintable characters"),
    ({"source": ""}, "no source: say who measured"),
    ({"source": "profile"}, "source profile is what `cascade profile` writes"),
    ({"measured": "yesterday"}, "measured 'yesterday' is no ISO 8601 time"),
    ({"measured": "0001-01-01T00:00:00+14:00"}, "is no ISO 8601 time"),
    ({"weights_sha256": "abc"}, "weights_sha256 'abc' is no SHA-256: give its 64 hex digits"),
    ({"weights_sha256": "g" * 64}, "is no SHA-256"),
    ({"scope": "y" * 1001}, "scope has 1,001 characters, at most 1,000 can be"),
    (
        {"model": "good"},
        "same model, runtime, device, component, batch_size, meter, source as line 2",
    ),
]


@pytest.mark.parametrize(("cells", "words"), BAD_CELLS)
def test_a_bad_row_is_named_and_nothing_is_written(load, tmp_path, cells, words):
    refusal = load(changed(**cells)).refusal
    assert words in refusal
    assert "rows.csv, line 3: " in refusal
    assert not (tmp_path / "cache").exists()


def test_the_good_row_alone_would_have_been_written(load, tmp_path):
    """So that the test above can fail."""
    assert load(GOOD).status == 0
    assert load(changed()).status == 0
    assert [len(rows) for rows in stored(tmp_path, "good", "bad").values()] == [1, 1]


BAD_FILES = [
    ("", "rows.csv is empty"),
    ("\n , \n", "rows.csv is empty"),
    (GOOD.splitlines()[0], "has a header and no rows"),
    ("model;device;batch_size;latency_ms\na;x;1;1\n", "line 1: unknown column 'model;device"),
    (
        GOOD.replace("latency_ms", "latency"),
        "unknown column 'latency': call it latency_ms or latency_s",
    ),
    (GOOD.replace("energy_j", "energy_kj"), "call it energy_j or energy_mj or energy_uj, as"),
    (GOOD.replace("latency_ms", "x").replace("energy_j", "y"), "unknown columns 'x', 'y'"),
    (GOOD.replace("energy_j", "latency_ms"), "column latency_ms stands there twice"),
    ("model,latency_ms\na,1\n", "no column device, batch_size"),
    ("model,device,batch_size,macs\na,x,1,1\n", "no column latency_ms or energy_j"),
    (GOOD + "a,x,1,1,1\n", "line 3: 5 cells under 6 columns"),
    (GOOD + "a,x,1,1,1,me,\n", "line 3: 7 cells under 6 columns: drop the comma after source"),
    (GOOD + "a,x,1,1\n", "line 3: 4 cells under 6 columns, none for energy_j"),
    (GOOD.replace("source", "source,"), "line 1: column 7 has no name"),
    (GOOD.replace("latency_ms", "latency_ms,latency_s"), "latency_ms and latency_s are one figure"),
    (GOOD.replace("latency_ms", "power_w"), "columns power_w and energy_j are one figure"),
    ("model,device,batch_size,power_w\na,x,1,1\n", "power_w without a latency is no energy"),
    (",".join(f"c{i}" for i in range(20_000)), "line 1: 20,000 columns, "),
    (GOOD + '"a"b,x,1,1,1,me\n', "line 3: not CSV"),
    (GOOD + '\n"a\n', "line 4: not CSV"),
    (GOOD + '\n\n"a\nb",x,1,1,1,me\n', "line 5: model 'a\\nb' has unprintable characters"),
    (GOOD + "a" * 200_000 + ",x,1,1,1,me\n", "line 3: not CSV"),
    (GOOD.encode() + "é,x,1,1,1,me\n".encode("latin-1"), "line 3: not text in UTF-8"),
    (GOOD.encode("utf-16"), "line 1: not text in UTF-8"),
    (GOOD.encode() + b"a\0b,x,1,1,1,me\n", "line 3: a zero byte"),
    (b"PK\x03\x04\x00\x00", "a zero byte"),
]


@pytest.mark.parametrize(("content", "words"), BAD_FILES)
def test_a_file_that_is_no_such_csv(load, tmp_path, content, words):
    assert words in load(content).refusal
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["c0", "x" * 100_000])
def test_a_refused_header_is_told_shortly(load, name):
    header = ",".join([name, *(f"c{i}" for i in range(1, 40))])
    assert len(load(f"{header}\n1\n").refusal) < 1000
    assert len(load(f"model,{name}\n1,2\n").refusal) < 1000


def test_blanks_after_commas_are_nothing(load, tmp_path):
    assert (
        load(
            'model, device, batch_size, latency_ms\na, "Nano, 10 W", 1, 2.5\n', "--source", "me"
        ).status
        == 0
    )
    [row] = stored(tmp_path, "a")["a"]
    assert (row.device, row.latency_ms) == ("Nano, 10 W", 2.5)


# --- units ---------------------------------------------------------------------------------------


@given(
    st.from_regex(r"[0-9]{0,9}(\.[0-9]{1,9})(e[+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from([3, 0, -3, -6]),
)
def test_a_figure_is_rounded_once(text, power):
    assert scaled(text, power) == float(Fraction(f"0{text}") * Fraction(10) ** power)


@pytest.mark.parametrize(
    ("columns", "cells", "latency", "energy"),
    [
        ("latency_s,energy_mj", "0.00421,21.3", "4.21", "0.0213"),
        ("latency_us,energy_uj", "4210,21300", "4.21", "0.0213"),
        ("latency_ms,power_w", "4.21,20", "4.21", "0.02105"),  # 20 W · 4.21 ms / 4 images
        ("power_mw,latency_s", "20000,0.00421", "4.21", "0.02105"),
    ],
)
def test_other_units_are_converted(load, tmp_path, columns, cells, latency, energy):
    text = f"model,device,batch_size,{columns},source\na,x,4,{cells},me\n"
    found = load(text, "--json").json["models"][0]["implied_w"]["x"]
    [row] = stored(tmp_path, "a")["a"]
    assert (row.latency_ms, row.energy_j) == (float(latency), pytest.approx(float(energy)))
    watts = float(Fraction(energy) * 4 / (Fraction(latency) / 1000))
    assert (found["low"], found["high"]) == (pytest.approx(watts), pytest.approx(watts))


def test_every_spelling_is_of_a_column_and_has_its_unit():
    size = {"s": 0, "ms": 3, "us": 6, "j": 0, "mj": 3, "uj": 6, "w": 0, "mw": 3}
    for name, (column, power) in SPELLINGS.items():
        stem, _, unit = name.rpartition("_")
        own = column.rpartition("_")[2]
        assert column in (*COLUMNS, "power_w")
        assert name == column or (stem == column.rpartition("_")[0] and unit != own)
        assert power == (0 if name == column else size[own] - size[unit])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        # 5 W: 25 mJ in 5 ms
        ("latency_ms,energy_j\na,x,1,0.005,0.025",
         "5 kW implied, above 3 kW: 0.025 J an image in batches of 1 that take 0.005 ms: seconds "
         "under latency_ms, or millijoules under energy_j? (of a whole machine say scope system)"),
        ("latency_ms,energy_j\na,x,1000,1,5",
         "5 MW implied, above 3 kW: 5 J an image in batches of 1000 that take 1 ms: joules of a "
         "batch under energy_j, or seconds under latency_ms, or millijoules under energy_j?"),
        ("latency_s,energy_j\na,x,1,5,0.0004", "80 µW implied, below 100 µW: "),
        ("latency_s,energy_j\na,x,1,5,0.0004", "milliseconds under latency_s?"),
        ("latency_ms,power_w\na,x,1,5,5000", "milliwatts under power_w?"),
        ("latency_ms,energy_j,scope\na,x,1,1,31,system", "31 kW implied, above 30 kW"),
        (
            "latency_ms,energy_j,idle_w\na,x,1,4.2,0.021,5000",
            "5 kW idle, and 5 W implied while a batch runs: milliwatts under idle_w",
        ),
        ("latency_ms,energy_j\na,x,1,1e-300,1e300", "above 3 kW"),
    ],
)  # fmt: skip
def test_a_power_that_no_device_draws_is_refused(load, tmp_path, row, words):
    columns, cells = row.split("\n")
    refusal = load(f"model,device,batch_size,{columns}\n{cells}\n", "--source", "me").refusal
    assert words in refusal
    assert "rows.csv, line 2: " in refusal
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("watts", [1e-4, 0.001, 5, 700, 2999, 29_000])
def test_a_power_that_some_device_draws_is_not(load, watts):
    scope = "system" if watts > 3000 else "module"
    text = f"model,device,batch_size,latency_ms,energy_j,scope\na,x,2,1000,{watts / 2},{scope}\n"
    done = load(text, "--source", "me")
    assert done.status == 0
    assert "implied" not in done.err


# A real GPU: 130 W for one image, 600 W for 64.
REAL = {1: (2.0, 130.0), 8: (2.6, 210.0), 64: (9.0, 600.0)}


def of_gpu(per_batch=False, device="gpu", model="a"):
    for size, (ms, watts) in REAL.items():
        joules = watts * ms / 1e3 / (1 if per_batch else size)
        yield f"{model},{device},{size},{ms},{joules!r}"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*of_gpu()], None),
        ([*of_gpu(), *of_gpu(device="other", model="b")], None),
        ([*of_gpu(), "b,nano,1,5,0.025"], None),
        (["a,x,1,5,0.025", "a,x,8,20,0.1"],
         "the watts implied on x grow with the batch size, from 5 W (a in batches of 1) to 40 W (a "
         "in batches of 8): are the joules those of a batch? energy_j is of one image"),
        ([*of_gpu(), "b,nano,1,5,0.025", "c,nano,1,5,0.000025"],
         "the watts implied on nano go from 5 mW (c in batches of 1) to 5 W (b in batches of 1): "
         "are all rows in the units of the header?"),
    ],
)  # fmt: skip
def test_rows_whose_powers_do_not_go_together_are_told(load, rows, words):
    text = "\n".join(["model,device,batch_size,latency_ms,energy_j", *rows])
    done = load(text, "--source", "me")
    assert done.status == 0
    told = [line for line in done.err.splitlines() if "implied" in line]
    assert told == ([] if words is None else [f"warning: {words}"])


def test_the_table_shows_the_power_implied(load):
    text = "\n".join(["model,device,batch_size,latency_ms,energy_j", *of_gpu(), "b,nano,1,5,"])
    lines = load(text, "--source", "me").out.splitlines()
    assert lines[0].endswith("power implied")
    assert lines[1].endswith("130 W to 600 W")
    assert lines[2].endswith("–")


# --- what is no such file ------------------------------------------------------------------------


def in_a_process(path, tmp_path, **how):
    given = [path, "-d", "toy", "--source", "me", "--cache", tmp_path / "cache"]
    program = "from cascade_cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "import-costs", *map(str, given)],
        capture_output=True, text=True, timeout=60, cwd=ROOT, **how,
    )  # fmt: skip


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    done = in_a_process(tmp_path / "fifo", tmp_path)
    assert done.returncode == 2
    assert "it is a FIFO, not a regular file" in done.stderr


def test_a_device_is_not_read_to_its_end(tmp_path):
    import resource

    try:
        os.mknod(tmp_path / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except OSError:
        pytest.skip("only root makes devices")
    most = (2 << 30, 2 << 30)  # else the machine's memory fills where this fails
    done = in_a_process(
        tmp_path / "zero", tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, most)
    )
    assert done.returncode == 2
    assert "it is a device, not a regular file" in done.stderr


def test_a_file_beyond_all_bounds_is_refused(load):
    assert "larger than 16 MiB" in load(b"\n" * (16 << 20) + b"\n").refusal


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_a_file_that_cannot_be_read(tmp_path, name):
    where = ("--cache", tmp_path / "cache", "-d", "toy")
    assert "cannot read" in cascade("import-costs", f"{tmp_path}/{name}", *where).refusal


def test_a_bad_dataset_name_writes_nothing(load, tmp_path):
    assert "looks like a path" in load(GOOD, dataset="../up").refusal
    assert not (tmp_path / "cache").exists()


def test_help_states_the_units():
    text = " ".join(cascade("import-costs", "--help").out.split())
    assert "latency_ms (milliseconds per batch)" in text
    assert "energy_j (joules per image)" in text


CELL = st.one_of(
    st.sampled_from(
        ["a", "1", "2.5", "", "0", "-1", "nan", "1e400", "forward", "profile", '"', "x y"]
    ),
    st.text(max_size=6),
    st.floats().map(repr),
    st.integers().map(str),
)
NAME = st.sampled_from([*SPELLINGS, "latency", ""])
LIKELY = ["model", "device", "batch_size", "energy_j", "source"]


@st.composite
def tables(draw):
    """Text that is nearly right, so that all the checks are reached."""
    header = LIKELY + draw(st.lists(NAME, max_size=4))
    sane = st.tuples(
        *map(st.sampled_from, (["a", "b"], ["x"], ["1", "8"], ["0.5", ""], ["me", ""]))
    )
    extra = st.lists(CELL, min_size=len(header) - 5, max_size=len(header) - 5)
    rows = draw(st.lists(st.builds(lambda a, b: [*a, *b], sane, extra), max_size=3))
    return "\n".join(",".join(cells) for cells in [header, *rows])


@given(st.one_of(tables().map(str.encode), st.text().map(str.encode), st.binary()))
def test_any_text_is_imported_or_refused_in_one_line(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        path.write_bytes(content)
        result = cascade("import-costs", path, "--cache", f"{folder}/cache", "-d", "toy")
        if result.status != 0:
            assert result.refusal
            assert not Path(folder, "cache").exists()


def test_integers_of_the_schema_have_a_bound():
    """Every integer column is refused beyond its type, not wrapped or truncated."""
    from stages.costs.import_csv import _LARGEST

    whole = {field.type for field in COSTS if pa.types.is_integer(field.type)}
    assert whole == set(_LARGEST)


def test_models_that_the_cache_has_not_are_told(tmp_path, small_cache):
    path = tmp_path / "rows.csv"
    given = ("import-costs", path, "--cache", small_cache.root, "--dataset")
    path.write_text(GOOD.replace("good", "small"))
    assert cascade(*given, "toy").err == ""
    path.write_text(GOOD.replace("good", "smal"))
    done = cascade(*given, "toy")
    assert done.status == 0
    assert "no logits of smal on toy (it has large, other, small)" in done.err
    done = cascade(*given, "toys")
    assert done.status == 0
    assert "no logits of smal on toys (it has none)" in done.err
