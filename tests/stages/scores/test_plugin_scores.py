"""Scores that an installed package adds: copies of the rule's own must do all that these do."""

from __future__ import annotations

import json
import re
import shutil

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from browser import chromium, visiting
from helpers import fingerprint_of, make_cache, tied_logits, write_logits, write_samples
from hypothesis import given, strategies as st
from plugged import documented, installed
from running import cascade

from cache import (
    InputError,
    Partition,
    Store,
    load,
    probabilities_schema,
    read_table,
    write_partition,
)
from cache.upkeep import verify
from stages import scores as score
from stages.report.packing import unpack
from stages.scores import SCORES, named_in, plugin_scores, registry, scores_of

MODELS = ("small", "large", "other")
PAIR = ("-m1", "small", "-m2", "large", "--dataset", "toy")
COPIES = """
from stages.scores import ScoreFunction
from stages.scores import scores_of

CALLS = []


def copy(name):
    def of(logits):
        CALLS.append((name, len(logits)))
        return scores_of(logits)[name]

    return of


ADDED = [ScoreFunction("surest", +1, copy("maxp")), ScoreFunction("chaos", -1, copy("entropy"))]
"""
ENTRIES = {"cascade.scores": {"copies": "copies:ADDED"}}
TWINS = {"surest": "maxp", "chaos": "entropy"}


@pytest.fixture
def copies(tmp_path):
    with installed(tmp_path, {"copies": COPIES}, ENTRIES, "copied-scores") as site:
        yield site


@pytest.fixture
def toy(tmp_path):
    return make_cache(tmp_path / "cache", models=MODELS).root


@pytest.fixture
def calls(copies):
    """What was computed so far: (score, rows)."""
    import copies as module

    return module.CALLS


def added(tmp_path, code, name="odd-scores", module="odd"):
    return installed(tmp_path, {module: code}, {"cascade.scores": {"odd": f"{module}:ADDED"}}, name)


def renamed(value, twin, name):
    """The JSON of a twin as if its score had this name; what differs with every run is left out."""
    if isinstance(value, dict):
        left_out = ("output", "files", "seconds")
        return {k: renamed(v, twin, name) for k, v in value.items() if k not in left_out}
    if isinstance(value, list):
        return [renamed(item, twin, name) for item in value]
    return value.replace(name, twin) if isinstance(value, str) else value


ASKED = {
    "threshold": ("threshold", "-d", "toy"),
    "search": ("search", "-d", "toy"),
    "chains": ("search", "-d", "toy", "--stages", "3"),
    "certified": ("search", "-d", "toy", "--certify", "0.3,0.5"),
    "optimism": ("search", "-d", "toy", "--best-accuracy", "--optimism", "--resamples", "3"),
    "simulated": ("simulate", *PAIR),
    "post-check": ("simulate", *PAIR, "-p"),
    "given": ("simulate", *PAIR, "-p", "-t", "0.6"),
    "duplicates": ("simulate", *PAIR, "-p", "--duplicates", "0.5"),
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("command", ASKED)
def test_a_copy_does_what_the_rules_own_does(copies, toy, command, name):
    twin = TWINS[name]
    ours, theirs = (
        cascade(*ASKED[command], "-s", each, "--json", "--cache", toy).json for each in (name, twin)
    )
    assert renamed(ours, twin, name) == renamed(theirs, twin, name)
    assert json.dumps(ours).count(f'"{name}"') == json.dumps(theirs).count(f'"{twin}"') > 0


@pytest.mark.parametrize("name", TWINS)
def test_the_rules_command_takes_it_as_a_rule(copies, toy, name):
    found = cascade(
        *("rules", *PAIR, "--rules", f"{name},{TWINS[name]},margin", "--finals", "b,postcheck"),
        *("--json", "--cache", toy),
    ).json
    by_rule = {}
    for row in found["rows"]:
        by_rule.setdefault(row["rule"], []).append(row)
    ours, theirs = renamed(by_rule[name], TWINS[name], name), by_rule[TWINS[name]]
    for row in (*ours, *theirs):  # plain maxp gains 0 over itself, a copy as far as images tell
        del row["gain_low"], row["gain_high"]
    assert ours == theirs
    assert len(ours) == 4
    assert "margin" in by_rule


def test_unasked_no_command_uses_it(copies, toy):
    found = cascade("threshold", "-d", "toy", "--json", "--cache", toy).json
    assert {row["score"] for row in found["rows"]} == {"maxp", "difference", "entropy"}
    rules = cascade("rules", *PAIR, "--json", "--cache", toy).json
    assert not {row["rule"] for row in rules["rows"]} & set(TWINS)
    assert not Store(toy).files("extra_scores")


@pytest.mark.parametrize("name", TWINS)
def test_a_report_shows_it_beside_the_others(copies, toy, tmp_path, name):
    pages = {}
    for each in (name, TWINS[name]):
        out = tmp_path / f"{each}.html"
        args = ("report", *PAIR, "-s", each, "--output", out, "--json", "--cache", toy)
        pages[each] = cascade(*args).json, facts_of(out)
    (ours, page), (theirs, _) = pages[name], pages[TWINS[name]]
    left_out = {"sentence", "page_corners", "page_off", "output"}
    for key in theirs.keys() - left_out:
        assert renamed(ours[key], TWINS[name], name) == theirs[key], key
    signs = {each["name"]: each["sign"] for each in page["scores"]}
    assert signs == {"maxp": 1, "difference": 1, "entropy": -1, name: SCORES[TWINS[name]].sign}


def facts_of(page):
    text = page.read_text(encoding="utf-8")
    data = max(re.findall(r">\s*([A-Za-z0-9+/=]{200,})\s*<", text), key=len)
    return unpack(data)[0]


def test_search_on_several_devices_chooses_by_it(copies, toy, tmp_path):
    rows = ["model,device,batch_size,latency_ms"]
    for device, times in {"nano": (1, 4, 2), "desk": (2, 3, 9)}.items():
        rows += [f"{model},{device},1,{ms}" for model, ms in zip(MODELS, times, strict=True)]
    (tmp_path / "nano.csv").write_text("\n".join(rows))
    brought = cascade(
        "import-costs", tmp_path / "nano.csv", "--source", "me", "-d", "toy", "--cache", toy
    )
    assert brought.status == 0, brought.err
    asked = ("search", "-d", "toy", "--cost-device", "all")
    ours, theirs = (
        cascade(*asked, "-s", name, "--json", "--cache", toy).json for name in ("surest", "maxp")
    )
    assert renamed(ours, "maxp", "surest") == theirs


def test_the_wide_table_has_its_column(copies, toy, tmp_path):
    out = tmp_path / "wide.parquet"
    done = cascade("export", "-o", out, "-d", "toy", "-s", "surest,maxp", "--cache", toy)
    assert done.status == 0, done.err
    table = pl.read_parquet(out)
    for model in MODELS:
        assert (table[f"{model}_surest"] == table[f"{model}_maxp"]).all()
    assert not [name for name in table.columns if "chaos" in name]


# --- what lies in the cache ----------------------------------------------------------------------


def test_it_is_made_once_and_again_with_another_version(copies, toy, tmp_path, calls):
    assert cascade("score", "-d", "toy", "-s", "surest", "--cache", toy).status == 0
    assert len(calls) == len(MODELS) * 2
    cascade("threshold", "-d", "toy", "-s", "surest", "--cache", toy)
    assert len(calls) == len(MODELS) * 2
    before = Store(toy).files("scores")
    place = partition("surest")
    first = load(Store(toy), place)
    old = shutil.copytree(toy, tmp_path / "old")
    shutil.rmtree(copies)
    with installed(tmp_path, {"copies": COPIES}, ENTRIES, "copied-scores", "2.0"):
        cascade("threshold", "-d", "toy", "-s", "surest", "--cache", toy)
    second = load(Store(toy), place)
    assert (first.identity["score"]["version"], second.identity["score"]["version"]) == (
        "1.0",
        "2.0",
    )
    first, second = (read_table(Store(root), load(Store(root), place)) for root in (old, toy))
    assert first.equals(second)
    assert Store(toy).files("scores") == before


def test_it_is_made_again_when_the_code_or_the_logits_change(tmp_path, toy):
    code = COPIES.replace("scores_of(logits)[name]", "scores_of(logits)[name] / 2")
    values = []
    for number, text in enumerate((COPIES, code)):
        with installed(tmp_path / str(number), {"copies": text}, ENTRIES, "copied-scores"):
            values.append(score.load(Store(toy), "toy", "test").score("surest", 0))
    assert np.array_equal(values[0] / 2, values[1])
    with installed(tmp_path / "again", {"copies": COPIES}, ENTRIES, "copied-scores"):
        shutil.rmtree(toy)
        store = make_cache(toy, models=MODELS, seed=1)
        found = score.load(store, "toy", "test")
        assert np.array_equal(found.score("surest", 0), found.score("maxp", 0))
        assert not np.array_equal(found.score("surest", 0), values[0])


def partition(name, model="small", table="extra_scores"):
    keys = {"dataset": "toy", "split": "test", "variant": "identity", "runtime": "torch-fp32-cpu"}
    return Partition.of(table, **keys, model=model, score=name)


def test_every_reader_sees_it_as_a_table_of_its_own(copies, toy, tmp_path):
    """Some models have it and others have not: `scores` and `extra_scores` read as ever."""
    done = cascade("score", "-d", "toy", "-s", "surest", "--models", "small,large", "--cache", toy)
    assert done.status == 0, done.err
    cascade("score", "-d", "toy", "-s", "chaos", "--models", "other", "--cache", toy)
    root = Store(toy).local_path("")
    found = score.load(Store(toy), "toy", "test")
    expected = {("small", "surest"), ("large", "surest"), ("other", "chaos")}
    means = {
        (model, name): found.score(TWINS[name], found.index(model)).mean()
        for model, name in expected
    }
    by_duckdb = duckdb.sql(
        f"""SELECT model, score, avg(value) FROM
        read_parquet('{root}/extra_scores/**/*.parquet', hive_partitioning = true)
        WHERE split = 'test' GROUP BY ALL"""
    ).fetchall()
    assert {(m, s): v for m, s, v in by_duckdb} == pytest.approx(means)
    lazy = pl.scan_parquet(root / "extra_scores", hive_partitioning=True).filter(split="test")
    rows = lazy.group_by("model", "score").agg(pl.col("value").mean()).collect().rows()
    assert {(m, s): v for m, s, v in rows} == pytest.approx(means)
    frame = pd.read_parquet(root / "extra_scores", filters=[("split", "==", "test")])
    grouped = frame.groupby(["model", "score"], observed=True).value.mean()
    assert dict(grouped.items()) == pytest.approx(means)
    whole = ds.dataset(root / "extra_scores", partitioning="hive").to_table()
    assert whole.num_rows == len(frame) * 2
    scores_table = pl.read_parquet(root / "scores", hive_partitioning=True)
    assert {"maxp", "difference", "entropy"} <= set(scores_table.columns)
    assert "surest" not in scores_table.columns


LACKING = {
    "score": ("score", "-d", "toy", "-s", "surest"),
    "threshold": ("threshold", "-d", "toy", "-s", "maxp,surest"),
    "search": ("search", "-d", "toy", "-s", "surest"),
    "simulate": ("simulate", *PAIR, "-s", "surest"),
    "rules": ("rules", *PAIR, "--rules", "surest"),
    "report": ("report", *PAIR, "-s", "surest"),
    "wide": ("export", "-o", "wide.csv", "-d", "toy", "-s", "surest"),
    "policy": ("export", "--policy", "policy", *PAIR, "-s", "surest"),
}


@pytest.fixture
def copied(toy, tmp_path):
    """A published copy with the values of a package that is not there."""
    with installed(tmp_path, {"copies": COPIES}, ENTRIES, "copied-scores", "1.2"):
        assert cascade("score", "-d", "toy", "-s", "surest", "--cache", toy).status == 0
        done = cascade("export", "--publish", tmp_path / "copy", "-d", "toy", "--cache", toy)
        assert done.status == 0, done.err
    return tmp_path / "copy"


@pytest.mark.parametrize("command", LACKING)
def test_whoever_lacks_the_package_is_told_which(copied, command):
    refusal = cascade(*LACKING[command], "--cache", copied).refusal
    assert "surest comes with the package copied-scores, which is not installed" in refusal
    assert "of its version 1.2): install it" in refusal
    other = [word.replace("surest", "surely") for word in LACKING[command]]
    assert re.search("unknown (score|rule) 'surely'", cascade(*other, "--cache", copied).refusal)


def test_whoever_lacks_the_package_is_untouched(toy, tmp_path):
    with installed(tmp_path, {"copies": COPIES}, ENTRIES, "copied-scores"):
        asked = ("threshold", "-d", "toy", "-s", "surest", "--json", "--cache", toy)
        assert cascade(*asked).status == 0
    there = Store(toy).files("extra_scores")
    assert (
        "unknown score 'chaos': choose from maxp"
        in cascade(*("threshold", "-d", "toy", "-s", "chaos", "--cache", toy)).refusal
    )
    plain = cascade("threshold", "-d", "toy", "-s", "maxp", "--json", "--cache", toy)
    assert plain.status == 0
    assert Store(toy).files("extra_scores") == there
    assert there
    assert cascade("cache", "verify", "--cache", toy).status == 0


@pytest.mark.parametrize("tier", ["scores", "top10", "full"])
def test_a_published_copy_carries_it(copies, toy, tmp_path, tier, calls):
    assert cascade("score", "-d", "toy", "-s", "surest", "--cache", toy).status == 0
    copy = tmp_path / "copy"
    done = cascade("export", "--publish", copy, "-d", "toy", "--tier", tier, "--cache", toy)
    assert done.status == 0, done.err
    made = len(calls)
    asked = ("search", "-d", "toy", "-s", "surest", "--json", "--cache")
    assert cascade(*asked, copy).json == cascade(*asked, toy).json
    assert len(calls) == made
    assert cascade("cache", "verify", "--cache", copy).status == 0
    card = (copy / "README.md").read_text()
    assert "`extra_scores` has more, by its key `score`: `surest`" in card


def test_without_logits_what_came_with_the_copy_counts(toy, tmp_path):
    with installed(tmp_path, {"copies": COPIES}, ENTRIES, "copied-scores"):
        assert cascade("score", "-d", "toy", "-s", "surest", "--cache", toy).status == 0
        copy = tmp_path / "copy"
        assert cascade("export", "--publish", copy, "-d", "toy", "--cache", toy).status == 0
        asked = ("threshold", "-d", "toy", "-s", "chaos", "--cache", copy)
        refusal = cascade(*asked).refusal
        assert re.search(
            "has neither chaos of .* on toy/.* nor logits or probabilities to make it from", refusal
        )
    with installed(tmp_path, {"copies": COPIES}, ENTRIES, "copied-scores", "3.0"):
        found = score.load(Store(copy), "toy", "test")
        assert np.array_equal(found.score("surest", 1), found.score("maxp", 1))


def test_a_cache_that_is_only_read_answers_too(copies, toy, monkeypatch):
    score.load(Store(toy), "toy", "test")
    monkeypatch.setattr(plugin_scores, "kept_if_writable", lambda store, write: None)
    found = score.load(Store(toy), "toy", "test")
    assert np.array_equal(found.score("chaos", 2), found.score("entropy", 2))
    assert not Store(toy).files("extra_scores")


def test_the_cache_looks_after_it(copies, toy, tmp_path):
    for name in TWINS:
        cascade("score", "-d", "toy", "-s", name, "--split", "test", "--cache", toy)
    listed = cascade("cache", "ls", "--score", "chaos", "--json", "--cache", toy).json
    assert len(listed["partitions"]) == len(MODELS)
    other = tmp_path / "other"
    assert cascade("cache", "merge", toy, "--cache", other).status == 0
    assert Store(other).files("extra_scores") == Store(toy).files("extra_scores")
    part = Store(toy).local_path(f"{partition('chaos').path}/part-00000.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    [damage] = verify(Store(toy)).damage
    assert damage.partition == partition("chaos")
    told = cascade("cache", "verify", "--cache", toy)
    command = "cascade score --dataset toy --split test --models small --scorefn chaos"
    assert told.status == 2
    assert command in told.out + told.err
    assert cascade(*command.split()[1:], "--cache", toy).status == 0
    assert cascade("cache", "verify", "--cache", toy).status == 0
    cascade("cache", "rm", "--table", "logits", "--model", "small", "--yes", "--cache", toy)
    assert load(Store(toy), partition("chaos")) is None
    assert load(Store(toy), partition("chaos", "large")) is not None


def test_damaged_values_are_told_and_made_again_or_refused(copies, toy, tmp_path):
    asked = ("threshold", "-d", "toy", "-s", "chaos", "--json", "--cache")
    before = cascade(*asked, toy).json
    assert (
        cascade("export", "--publish", tmp_path / "copy", "-d", "toy", "--cache", toy).status == 0
    )
    path = f"{partition('chaos').path}/part-00000.parquet"
    for root in (toy, tmp_path / "copy"):
        part = Store(root).local_path(path)
        part.write_bytes(part.read_bytes()[:-1])
    again = cascade(*asked, toy)
    assert again.err.count(f"{path} is missing or damaged") == 1
    assert again.json == before
    assert "damaged" not in cascade(*asked, toy).err
    assert f"{path} has " in cascade(*asked, tmp_path / "copy").refusal


def test_values_of_other_logits_are_told_and_not_published(copies, toy, tmp_path):
    found = score.load(Store(toy), "toy", "test")
    assert len(found.scores["surest"]) == len(MODELS)
    table = read_table(Store(toy), load(Store(toy), partition("surest")))
    assert table.column_names == ["sample_id", "value"]
    rng = np.random.default_rng(9)
    logits = tied_logits(rng, len(found.labels))
    write_logits(Store(toy), "test", "small", found.labels, logits, weights="v", overwrite=True)
    score.load(Store(toy), "toy", "test")
    [damage] = verify(Store(toy)).damage
    assert "made from other logits" in damage.what
    copy = tmp_path / "copy"
    assert cascade("export", "--publish", copy, "-d", "toy", "--cache", toy).status == 0
    assert load(Store(copy), partition("surest")) is None
    assert load(Store(copy), partition("surest", "large")) is not None


# --- what is refused -----------------------------------------------------------------------------


def test_a_policy_cannot_carry_it(copies, toy, tmp_path):
    folder = tmp_path / "policy"
    args = ("export", "--policy", folder, *PAIR, "--cache", toy)
    refusal = cascade(*args, "-s", "surest").refusal
    assert "surest comes with a package, which a policy's file cannot carry" in refusal
    assert not folder.exists()
    assert cascade(*args, "-s", "maxp").status == 0
    file = folder / "policy.toml"
    file.write_text(file.read_text().replace('score = "maxp"', 'score = "surest"'))
    refusal = cascade("check", folder, "--cache", toy).refusal
    assert 'rule.score is "surest", expected "maxp" or' in refusal


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("logits", r"gives float32 \[60, 4\] for 60 images, not float64 \[60\]"),
        ("logits[:1, 0]", r"gives float32 \[1\] for 60 images"),
        ("logits.argmax(axis=1)", r"gives int64 \[60\] for 60 images"),
        ("None", r"gives object \[\] for 60 images"),
        ("logits[:, 0] * float('nan')", r"gives nan, which is no finite number"),
        ("logits[:, 0] * 0 + float('inf')", r"gives inf, which is no finite number"),
        ("logits.sort(axis=1)", r"fails, ValueError: .*read-only"),
        ("[][0]", r"fails, IndexError: list index out of range"),
        ("exec('raise OSError(\"two\\\\nlines\")')", r"fails, OSError: two lines: update"),
    ],
)
def test_a_wrong_function_is_told_in_one_line(tmp_path, toy, body, message):
    code = "from stages.scores.registry import ScoreFunction\n"
    code += f"def of(logits):\n    return {body}\nADDED = [ScoreFunction('odd', 1, of)]\n"
    with added(tmp_path, code):
        refusal = cascade("threshold", "-d", "toy", "-s", "odd", "--cache", toy).refusal
        assert cascade("threshold", "-d", "toy", "-s", "maxp", "--cache", toy).status == 0
    assert "package odd-scores: its score odd " in refusal
    assert re.search(message, refusal)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("ScoreFunction('maxp', 1, len)", "odd-scores: it adds the score maxp, which is taken"),
        ("ScoreFunction('oracle', 1, len)", "it adds the score oracle, which is taken"),
        ("ScoreFunction('two words', 1, len)", "name 'two words' is none"),
        ("ScoreFunction('a,b', 1, len)", "name 'a,b' is none"),
        ("ScoreFunction(['a'], 1, len)", "name ['a'] is none"),
        ("ScoreFunction('odd', 0, len)", "has the sign 0, not +1 or -1"),
        ("ScoreFunction('odd', 1, len), ScoreFunction('odd', 1, len)", "odd, which is taken"),
        ("3", "it gives a int, not a ScoreFunction"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_package_that_is_broken_is_named_and_only_where_asked(tmp_path, toy, item, message):
    code = f"from stages.scores.registry import ScoreFunction\nADDED = [{item}]\n"
    with added(tmp_path, code):
        refusal = cascade("threshold", "-d", "toy", "-s", "odd", "--cache", toy).refusal
        assert cascade("threshold", "-d", "toy", "-s", "entropy", "--cache", toy).status == 0
    assert "package odd-scores" in refusal
    assert message in refusal


def test_names_of_rules_are_taken(tmp_path, toy):
    code = COPIES.replace('"surest"', '"margin"')
    with installed(tmp_path, {"copies": code}, ENTRIES):
        refusal = cascade("rules", *PAIR, "--rules", "surest", "--cache", toy).refusal
        assert cascade("rules", *PAIR, "--rules", "chaos", "--cache", toy).status == 0
    assert "it adds the score margin, which is taken" in refusal


def test_the_rules_own_import_no_package(tmp_path, toy):
    with added(tmp_path, "raise RuntimeError('imported')"):
        assert registry.named("maxp") is SCORES["maxp"]
        for command in ("threshold", "search", "score"):
            assert cascade(command, "-d", "toy", "--cache", toy).status == 0
        with pytest.raises(InputError, match="RuntimeError: imported"):
            named_in(Store(toy), "odd")


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_documented_score_is_a_share(n, classes, seed):
    space = {}
    exec(documented()[0]["gini"], space)
    logits = (np.random.default_rng(seed).standard_normal((n, classes)) * 30).astype(np.float32)
    found = space["gini"](logits)
    p = np.array([[np.exp(np.float64(z) - max(row)) for z in row] for row in logits])
    p /= p.sum(axis=1, keepdims=True)
    assert found == pytest.approx([sum(x * x for x in row) for row in p])
    assert ((found >= 0) & (found <= 1)).all()
    assert (found <= scores_of(logits)["maxp"] + 1e-12).all()
    assert (found == np.concatenate([space["gini"](row[None]) for row in logits])).all()


# --- live ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("digits") / "cache"
    done = cascade("extract", "--models", "digits_wide,digits_plain", "--cache", root)
    assert done.status == 0, done.err
    return root


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("extra", [(), ("--memory", "dhash", "--memory-trust", "0.6")])
def test_live_scores_by_the_same_function(copies, digits, name, extra):
    limit = {"surest": "0.7", "chaos": "0.25"}[name]
    args = ("live", "-m1", "digits_wide", "-m2", "digits_plain", "-p", "-t", limit, *extra)
    args += ("--limit", "40", "--batch-size", "10", "--no-alone", "--json", "--cache", digits)
    ours, theirs = (cascade(*args, "-s", each).json for each in (name, TWINS[name]))
    same = ("n", "accuracy", "usage", "escalated", "took_b", "hits", "agreement", "threshold")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert ours["score"] == name
    assert 0 < ours["escalated"] < 40
    assert ours["agreement"]["outside_noise"] == 0


def test_a_wrong_function_is_told_in_one_line_when_live(digits, tmp_path):
    code = COPIES.replace("scores_of(logits)[name]", "scores_of(logits)[name][:9]")
    with installed(tmp_path, {"copies": code}, ENTRIES, "copied-scores"):
        args = ("-m1", "digits_wide", "-m2", "digits_plain", "-t", "0.7", "--limit", "20")
        live = cascade("live", *args, "-s", "surest", "--batch-size", "10", "--cache", digits)
    assert "package copied-scores: its score surest gives float64 [9] for" in live.refusal


@pytest.mark.slow
def test_the_page_offers_it_in_a_browser(copies, toy, tmp_path):
    """Whatever is shown of a cascade by it is what is shown by its twin."""
    file = tmp_path / "page.html"
    assert cascade("report", *PAIR, "-s", "chaos", "--output", file, "--cache", toy).status == 0
    shown = {}
    with chromium() as browser, visiting(browser, file) as visit:
        chosen = visit.page.eval_on_selector("#pick-score", "e => e.selectedOptions[0].text")
        assert chosen == "chaos"
        for name in ("chaos", "entropy", "maxp"):
            visit.page.select_option("#pick-score", label=name)
            visit.page.click("[data-jump='best']")
            limit = visit.page.get_attribute("#lambda", "data-value")
            shown[name] = limit, visit.figures()
    assert shown["chaos"] == shown["entropy"] != shown["maxp"]
    found = cascade("threshold", *PAIR, "-s", "chaos", "--json", "--cache", toy).json["rows"]
    assert float(shown["chaos"][0]) in [row["threshold"] for row in found]


def test_probabilities_will_do(copies, tmp_path):
    """Their logarithms are logits of the same softmax, whatever the logits were; zeros, too."""
    store, rng = Store(tmp_path / "cache"), np.random.default_rng(4)
    labels, p = rng.integers(0, 3, 50), rng.dirichlet(np.full(3, 0.2), 50)
    p[:5] = np.eye(3)[labels[:5]]
    write_samples(store, "test", labels)
    keys = {"split": "test", "variant": "identity", "runtime": "import", "model": "small"}
    schema = probabilities_schema(3, pa.float64())
    rows = pa.FixedSizeListArray.from_arrays(p.reshape(-1), type=schema.field(1).type)
    table = pa.table([np.arange(50), rows], schema=schema)
    place = Partition.of("probabilities", dataset="toy", **keys)
    write_partition(store, place, table, {"dataset_fingerprint": fingerprint_of(labels)}, {})
    found = score.load(store, "toy", "test")
    for name, twin in TWINS.items():
        np.testing.assert_allclose(found.scores[name], found.scores[twin], rtol=1e-5, atol=1e-9)
    assert len(store.files("extra_scores")) == 2
    again = score.load(store, "toy", "test")
    np.testing.assert_array_equal(again.scores["surest"], found.scores["surest"])
