"""What the page carries, against the commands' own JSON and against naive loops."""

from __future__ import annotations

import base64
import io
import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import naive
import numpy as np
import pytest
from helpers import MODELS, cost_row, logits_table, make_cache, random_scores, score_set
from hypothesis import given, strategies as st
from PIL import Image
from running import cascade, noise_images, write_parquet
from scipy.stats import binom

from cache import Partition, Store, samples_table, write_partition
from stages import costs, report, threshold
from stages.cascade import Cascade, Ordering, decide, trusted
from stages.certify import Limits
from stages.costs import some_macs
from stages.datasets import fingerprint, open_split
from stages.report import curves, packing
from stages.report.certified import Certifying
from stages.report.explorer import clustered
from stages.scores import SCORES, load
from stages.threshold import FitPlan

NAMES = ("maxp", "difference", "entropy")
COST = {"small": 2.0, "large": 9.0, "other": 4.0}


def priced(root, **how):
    """A cache of three models with joules and latency for batches of 1 and 8, and of a hash."""
    store = make_cache(root, n=120, **how)
    for name, value in COST.items():
        about = {"source": "a test", "meter": "rapl"}
        forward = cost_row(name, **about, latency_sd_ms=0.2 * value, runs=40)
        rows = [
            replace(forward, batch_size=size, latency_ms=cost, energy_j=cost / size)
            for size, cost in ((1, value), (8, 4.0 * value))
        ]
        costs.merge(store, "toy", rows)
    hashed = cost_row(costs.HASH + "dhash", 0.25, energy_j=0.5, component="hash", **about)
    costs.merge(store, "toy", [hashed])
    return store


def read(path):
    """(facts, arrays) of a page."""
    text = re.search(r'id="data">([^<]*)</script>', Path(path).read_text(encoding="utf-8")).group(1)
    return packing.unpack(text)


def sweeps(facts, arrays):
    """(pick, corners as (λ, k, right, won), marks as dicts) of every cascade, as the page's script
    has to read them: one after the other."""
    size, at = len(facts["models"]), 0
    cascades = [
        (a, b, s, post)
        for a in range(size)
        for s in range(len(NAMES))
        for b in range(size)
        for post in ((False, True) if b != a else ())
    ]
    for number, (a, b, s, post) in enumerate(cascades):
        group = slice(*arrays["group_start"][a * 3 + s : a * 3 + s + 2].tolist())
        count = group.stop - group.start
        right = facts["models"][a]["right"] + np.cumsum(arrays["right"][at : at + count], dtype=int)
        won = facts["overlap"][a] + np.cumsum(arrays["won"][at : at + count], dtype=int)
        at += count
        limits, k = arrays["limit"][group], arrays["k"][group]
        corners = [
            (("never" if not k[i] else "always") if math.isnan(limits[i]) else float(limits[i]))
            for i in range(count)
        ]
        marks = [
            {
                name[5:]: arrays[name][m]
                for name in arrays
                if name.startswith("mark_") and "start" not in name
            }
            for m in range(*arrays["mark_start"][number : number + 2])
        ]
        pick = (facts["models"][a]["name"], facts["models"][b]["name"], NAMES[s], post)
        yield pick, list(zip(corners, k.tolist(), right.tolist(), won.tolist(), strict=True)), marks
    assert at == len(arrays["right"])


def threshold_of(mark):
    return {0: float(mark["limit"]), 1: "always", 2: "never"}[int(mark["mode"])]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    store = priced(folder / "cache")
    told = cascade("report", "-d", "toy", "--cache", store.root, "-o", folder / "p.html", "--json")
    return store, told.json, *read(folder / "p.html")


def test_every_corner_is_the_cascade_at_its_threshold(made):
    store, _, facts, arrays = made
    reported = load(store, "toy", "test")
    reference = reported.correct[facts["reference"]]
    seen = 0
    for (a, b, name, post), corners, _ in sweeps(facts, arrays):
        for limit, k, right, won in corners:
            found = decide(reported, Cascade.of((a, b), name, limit, postcheck=post))
            assert (found.escalated.sum(), found.correct.sum()) == (k, right)
            assert (found.correct & ~reference).sum() == won
            seen += 1
    assert seen > 300


def test_the_page_says_what_simulate_says(made):
    store, _, facts, arrays = made
    rng, all_ = np.random.default_rng(0), list(sweeps(facts, arrays))
    n = facts["n"]
    for i in rng.choice(len(all_), 12, replace=False):
        (a, b, name, post), corners, _ = all_[i]
        limit, k, right, won = corners[rng.integers(len(corners))]
        base = facts["models"][facts["reference"]]
        asked = ("-m1", a, "-m2", b, "-s", name, "-t", limit, *(["--postcheck"] if post else []))
        told = cascade(
            *("simulate", *asked, "--dataset", "toy", "--cache", store.root, "--json"),
            *("--baseline", base["name"]),
        ).json
        assert (told["accuracy"], told["usage"]) == (right / n, k / n)
        change = naive.paired_change(won, won - (right - base["right"]), n)
        ends = [told[f"accuracy_change{end}"] for end in ("", "_low", "_high")]
        assert ends == pytest.approx(change)
        row = [model["name"] for model in facts["models"]].index(b)
        first = [model["name"] for model in facts["models"]].index(a)
        to_b = k / n * arrays["batch_value"].reshape(-1, 2)[row, 1]
        assert told["cost"] == pytest.approx(arrays["alone_value"][first] + to_b)


def fitted_marks_agree(store, facts, arrays):
    """Each λ of `threshold`, with its accuracy where it was fitted and that of other images."""
    told = cascade("threshold", "-d", "toy", "--all-pairs", "--cache", store.root, "--json").json
    rows = {
        (*(row[key] for key in ("model_1", "model_2", "score", "postcheck")), row["objective"]): row
        for row in told["rows"]
    }
    kinds, n = facts["kinds"], facts["n"]
    for pick, _, marks in sweeps(facts, arrays):
        for mark in marks:
            row = rows.pop((*pick, kinds[mark["kind"]]), None)
            if row is not None:
                assert threshold_of(mark) == row["threshold"]
                assert mark["k"] / n == row["usage"]
                assert (mark["accuracy"], mark["fit_accuracy"]) == (
                    row["accuracy"],
                    row["fit_accuracy"],
                )
                yield mark
    assert not rows


def test_fitted_points_are_those_of_threshold(made):
    store, _, facts, arrays = made
    for mark in fitted_marks_agree(store, facts, arrays):
        assert mark["accuracy"] == mark["right"] / facts["n"]


def test_fitted_points_of_one_split_are_those_of_threshold_too(folded):
    store, _, facts, arrays = folded
    for mark in fitted_marks_agree(store, facts, arrays):
        assert mark["fit_accuracy"] == mark["right"] / facts["n"]


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """One split, and a question that nothing tests."""
    folder = tmp_path_factory.mktemp("folded")
    store = priced(folder / "cache", splits=("test",))
    args = ("-d", "toy", "--cache", store.root, "-o", folder / "p.html", "--json")
    told = cascade("report", *args, "--best-accuracy").json
    return store, told, *read(folder / "p.html")


ASKED = {
    "nothing": (),
    "a match": ("--match", "large", "--within", "0.15"),
    "the best": ("--best-accuracy",),
    "an accuracy": ("--min-accuracy", "0.5"),
    "with confidence": ("--min-accuracy", "0.4", "--confidence", "0.9"),
    "a cost": ("--max-cost", "5J"),
    "another baseline": ("--match", "large", "--baseline", "other"),
    "the same images": ("--best-accuracy", "--fit-split", "test"),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("splits", [("test", "val"), ("test",)])
def test_the_answer_and_the_frontier_are_those_of_search(tmp_path, asked, splits):
    store = priced(tmp_path / "cache", splits=splits)
    args = ("-d", "toy", "--cache", store.root, *ASKED[asked], "--json")
    found = cascade("search", *args).json
    told = cascade("report", *args, "-o", tmp_path / "p.html").json
    facts, arrays = read(tmp_path / "p.html")
    for name in ("sentence", "sentences", "target", "worth", "question", "notes"):
        assert told[name] == found[name], name
    for name in ("n", "fit_n", "split", "fit_split", "fit_method"):
        assert facts[name] == found[name], name
    page = facts["search"]
    assert (page["target"], page["worth"]) == (found["target"], found["worth"])
    assert page["found"] == len(found["frontier"]) == len(page["frontier"])
    pairs = [(page["answer"], found["answer"])]
    pairs += zip(page["frontier"], found["frontier"], strict=True)
    pairs += zip(page["baselines"], found["baselines"], strict=True)
    for shown, row in pairs:
        assert {key: row[key] for key in shown} == shown
    marks = {
        (facts["kinds"][mark["kind"]], *pick, threshold_of(mark)): mark
        for pick, _, known in sweeps(facts, arrays)
        for mark in known
    }
    kinds = {"point": "frontier"}
    for row in (row for row in (found["answer"], *found["frontier"]) if row["model_2"]):
        key = [row[name] for name in ("model_1", "model_2", "score", "postcheck", "threshold")]
        mark = marks[(kinds.get(row["kind"], row["kind"]), *key)]
        assert mark["k"] / facts["n"] == row["usage"]
        assert (mark["accuracy"], mark["fit_accuracy"]) == (row["accuracy"], row["fit_accuracy"])
        if found["fit_method"] != "cross-fit":
            assert mark["right"] == round(row["accuracy"] * facts["n"])
    names = [model["name"] for model in facts["models"]]
    answer = found["answer"]
    assert names[facts["baseline"]] == answer["baseline"]
    assert names[facts["reference"]] == (answer["matched"] or answer["baseline"])


def nested(reported, pair, objective):
    """The accuracy of folds each of which is decided by the rule that is best on the others, at the
    λ of this objective."""
    repeats = [threshold.folds(len(reported.labels), repeat=r) for r in range(10)]
    by_rule = []
    for name, post in product(NAMES, (False, True)):
        images = naive.images_of(reported, *pair, name)
        both = [naive.cross_fit(name, images, post, o, repeats) for o in ("best", objective)]
        by_rule.append([list(zip(*folds, strict=True)) for folds in zip(*both, strict=True)])
    right = 0
    for folds in zip(*by_rule, strict=True):
        for held in zip(*folds, strict=True):
            best = min(held, key=lambda two: (-two[0].fit_right, two[0].fit_sent))
            right += best[1].right
    return right / (10 * len(reported.labels))


def test_a_pairs_best_cascade_has_the_accuracy_of_folds_that_chose_it_too(tmp_path):
    store = make_cache(tmp_path / "cache", splits=("test",), n=40)
    args = ("-d", "toy", "--cache", store.root, "--best-accuracy", "-o", tmp_path / "p.html")
    assert cascade("report", *args, "--json").json["fit_method"] == "cross-fit"
    facts, arrays = read(tmp_path / "p.html")
    reported = load(store, "toy", "test")
    picks = [pick for pick, _, _ in sweeps(facts, arrays)]
    for i in (0, 5):
        a, b, *_ = picks[arrays["best_of_pairs"][i]]
        pair = reported.index(a), reported.index(b)
        for objective in ("best", "1se"):
            expected = nested(reported, pair, objective)
            assert arrays[f"pair_{objective}"][i] == pytest.approx(expected)


def test_pairs_are_ranked_and_represented_by_their_fit(made, folded):
    for _, _, facts, arrays in (made, folded):
        fits, pairs = [], {}
        for (a, b, *_), _, marks in sweeps(facts, arrays):
            [best] = [mark for mark in marks if facts["kinds"][mark["kind"]] == "best"]
            fits.append(best["fit_accuracy"])
            pairs.setdefault((a, b), []).append(len(fits) - 1)
        shown = arrays["best_of_pairs"].tolist()
        assert [fits[i] for i in shown] == sorted((fits[i] for i in shown), reverse=True)
        for numbers in pairs.values():
            [i] = set(numbers) & set(shown)
            assert fits[i] == max(fits[n] for n in numbers)


@pytest.mark.parametrize("asked", [(), ("-m1", "small"), ("-s", "entropy")])
def test_what_is_told_to_open_is_what_the_page_opens_with(made, tmp_path, asked):
    store, out = made[0], tmp_path / "p.html"
    command = ("report", "-d", "toy", "--cache", store.root, "-o", out, *asked)
    first = cascade(*command, "--json").json
    facts, _ = read(out)
    pick = facts["pick"]
    assert {key: first[key] for key in ("model_1", "model_2", "score", "postcheck")} == {
        "model_1": facts["models"][pick["a"]]["name"],
        "model_2": facts["models"][pick["b"]]["name"],
        "score": pick["score"],
        "postcheck": pick["postcheck"],
    }
    told = " ".join(cascade(*command).out.split())
    check = " with post-check" if first["postcheck"] else ""
    pair = f"{first['model_1']} → {first['model_2']}"
    assert told.startswith(first["sentence"])
    assert (f"{pair}, {first['score']}{check}" in told) == (not first["answered"])


def test_the_matrix_is_that_of_heterogeneity(made):
    store, _, facts, arrays = made
    names = [model["name"] for model in facts["models"]]
    metrics = [name for name in arrays if name.startswith("metric_")]
    assert len(metrics) == 9
    for metric in metrics:
        name = metric.removeprefix("metric_")
        asked = ("heterogeneity", "-d", "toy", "--metric", name, "--cache", store.root, "--json")
        told = cascade(*asked).json
        rows = [told["models"].index(model) for model in names]
        expected = np.array(told["matrix"], float)[np.ix_(rows, rows)]
        np.testing.assert_array_equal(arrays[metric].reshape(3, 3), expected)
    assert sorted(facts["order"]) == [0, 1, 2]


def test_models_that_err_alike_stand_together():
    rng = np.random.default_rng(0)
    one, two = rng.random((2, 500)) < 0.7
    rows = [np.where(rng.random(500) < 0.05, ~r, r) for r in (one, two, one, two, one)]
    distance = np.array([[(p != q).mean() for q in rows] for p in rows])
    order = clustered(distance)
    assert sorted(order[:3]) == [0, 2, 4] or sorted(order[2:]) == [0, 2, 4]


def _cheapest_that_passes(s_a, right_a, right_b, final, limits):
    """bool [N], where A stands: every λ tested from the safest on, as a score where larger is
    surer; None where the first fails."""
    best = None
    for level in (np.inf, *np.unique(s_a)[::-1]):
        lost = (right_b & ~np.where(s_a >= level, right_a, final)).sum()
        if binom.cdf(lost, len(s_a), limits.epsilon) > limits.delta:
            break
        best = s_a >= level
    return best


@pytest.mark.parametrize("seed", range(4))
def test_certified_is_what_testing_every_threshold_certifies(tmp_path, seed):
    rng = np.random.default_rng(seed)
    scores = random_scores(rng, 400, levels=64, split="val")
    limits = Limits(0.08, 0.1)
    certifying = Certifying.of(Store(tmp_path), FitPlan("other-split", "val", scores, ()), limits)
    right_a, right_b = scores.correct[:2]
    passed = 0
    for name, post in product(NAMES, (False, True)):
        s_a, s_b = scores.scores[name][:2]
        sign = -1 if name == "entropy" else 1
        final = np.where(sign * s_b > sign * s_a, right_b, right_a) if post else right_b
        expected = _cheapest_that_passes(sign * s_a, right_a, right_b, final, limits)
        gain = final.astype(np.int8) - right_a
        found = certifying.limit(Ordering.of(SCORES[name], s_a), right_a, right_b, gain)
        assert (found is None) == (expected is None)
        if expected is not None:
            assert trusted(SCORES[name], s_a, found).tolist() == expected.tolist()
            passed += 1
    assert passed >= 3


def test_images_that_a_model_saw_certify_nothing_and_the_page_says_so(tmp_path):
    store = priced(tmp_path / "cache", splits=("test",), trained_on={"small": ["test"]})
    args = ("report", "-d", "toy", "--cache", store.root, "-o", tmp_path / "p.html", "--json")
    assert cascade(*args).status == 0
    facts, arrays = read(tmp_path / "p.html")
    assert "was trained on test" in facts["certificate"]["why"]
    assert facts["kinds"].index("certified") not in arrays["mark_kind"]
    assert not np.isnan(arrays["mark_accuracy"][arrays["mark_kind"] == 0]).any()
    assert "0.5,0.2" not in cascade(*args, "--certify", "0.5,0.2").json
    assert read(tmp_path / "p.html")[0]["certificate"]["epsilon"] == 0.5
    assert "MAX_LOSS,RISK" in cascade(*args, "--certify", "much").refusal


def test_thinned_sweeps_are_off_by_what_they_say():
    scores = random_scores(np.random.default_rng(3), 900, levels=10**6)
    certifying = Certifying(Limits(0.1, 0.1), None, -1, "not asked")
    found = list(curves.groups(scores, 0, {}, certifying, 12))
    assert {len(group.k) for group in found} == {12}
    for group, name in zip(found, NAMES * 3, strict=True):
        others = [b for b in range(3) if b != group.a]
        for one, (b, post) in zip(
            group.cascades, [(b, post) for b in others for post in (False, True)], strict=True
        ):
            worst = 0.0
            for k in range(901):
                limit = group.ordering.limit(k).threshold
                pair = (MODELS[group.a], MODELS[b])
                right = decide(scores, Cascade.of(pair, name, limit, postcheck=post)).correct.sum()
                worst = max(worst, abs(right - np.interp(k, group.k, one.right)))
            assert one.off == pytest.approx(worst)
            assert one.off > 0


@pytest.mark.parametrize("size", [1, 8])
def test_batches_are_counted_where_several_requests_go_together(tmp_path, size):
    store = priced(tmp_path / "cache")
    args = ("--dataset", "toy", "--cache", store.root, "--batch-size", size, "--json")
    assert cascade("report", *args, "-o", tmp_path / "p.html").status == 0
    facts, arrays = read(tmp_path / "p.html")
    assert facts["cost"]["batch_size"] == size
    table = arrays["batch_value"].reshape(3, size + 1)
    names = [model["name"] for model in facts["models"]]
    rng, all_ = np.random.default_rng(1), list(enumerate(sweeps(facts, arrays)))
    for i in rng.choice(len(all_), 6, replace=False):
        number, ((a, b, name, post), corners, marks) = all_[i]
        group = number // 4
        for limit, k in [(c[0], c[1]) for c in corners[:3]] + [
            (threshold_of(mark), int(mark["k"])) for mark in marks[:1]
        ]:
            counts = [0, k]
            if size > 1:
                rows = range(*arrays["sent_start"][group : group + 2])
                [row] = [row for row in rows if arrays["sent"][row] == k]
                counts = arrays["sent_batches"].reshape(-1, size + 1)[row]
            asked = ("-m1", a, "-m2", b, "-s", name, "-t", limit, *(["-p"] if post else []))
            told = cascade("simulate", *asked, *args).json
            to_b = float(np.dot(counts, table[names.index(b)])) / facts["n"]
            assert told["cost"] == pytest.approx(arrays["alone_value"][names.index(a)] + to_b)


def test_classes_and_images_are_those_of_a_naive_loop(made):
    store, _, facts, arrays = made
    reported = load(store, "toy", "test")
    names, count = facts["classes"], len(facts["classes"])
    assert names == ["0", "1", "2", "3"]
    flat = [(pick, mark) for pick, _, marks in sweeps(facts, arrays) for mark in marks]
    assert len(arrays["detail_mark"]) >= 36  # every cascade's best at least
    for d, number in enumerate(arrays["detail_mark"].tolist()):
        (a, b, name, post), mark = flat[number]
        found = decide(reported, Cascade.of((a, b), name, threshold_of(mark), postcheck=post))
        row_a = reported.index(a)
        for c in range(count):
            inside = reported.labels == c
            assert arrays["class_size"][c] == inside.sum()
            assert arrays["class_right"].reshape(3, count)[row_a, c] == sum(
                reported.correct[row_a][inside]
            )
            at = d * count + c
            assert arrays["detail_deferred"][at] == found.escalated[inside].sum()
            assert arrays["detail_right"][at] == found.correct[inside].sum()
        for place, (before, after) in enumerate(((False, True), (True, False))):
            where = (reported.correct[row_a] == before) & (found.correct == after)
            shown = range(*arrays["example_start"][2 * d + place : 2 * d + place + 2])
            assert arrays[("detail_saved", "detail_lost")[place]][d] == where.sum()
            assert len(shown) == min(where.sum(), 12)
            for e in shown:
                i = int(arrays["image"][arrays["example"][e]])
                assert where[i]
                assert arrays["example_a"][e] == reported.predictions[row_a][i]
                assert arrays["example_b"][e] == reported.predictions[reported.index(b)][i]
                assert facts["images"]["names"][arrays["example"][e]] == f"{i}.png"
    assert facts["images"]["thumbnails"] == {}


def test_provenance_names_where_costs_come_from(made):
    _, told, _, _ = made
    text = Path(told["output"]).read_text(encoding="utf-8")
    table = text.split("Where costs on desk come from.")[-1].split("</table>")[0]
    rows = [re.findall("<td>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    about = ["forward", "rapl", "torch-fp32-cpu", "a test", "unknown"]
    assert rows == [[name, *about] for name in sorted(COST)]


def test_hash_costs_are_those_that_simulate_counts(made):
    _, _, facts, _ = made
    assert facts["cost"]["unit"] == "J"
    assert facts["hashes"] == [{"algorithm": "dhash", "cost": 0.5}]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """(folder with images/ and cache/, the images): two models on 40 noise images."""
    folder = tmp_path_factory.mktemp("pictures")
    images, labels = noise_images(40)
    write_parquet(folder / "images", "test", images, labels)
    write_parquet(folder / "others", "test", images, labels[::-1])
    source = open_split("noise", "test", folder / "images")
    store, identity = Store(folder / "cache"), {"dataset_fingerprint": fingerprint(source)}
    where = {"dataset": "noise", "split": "test"}
    samples = samples_table(np.arange(40), source.labels, source.keys)
    write_partition(store, Partition.of("samples", **where), samples, identity, {})
    rng = np.random.default_rng(0)
    for model in ("one", "two"):
        logits = rng.standard_normal((40, 10)).astype(np.float32)
        logits[np.arange(40), labels] += 1.5
        keys = {"variant": "identity", "runtime": "import", "model": model}
        partition = Partition.of("logits", **where, **keys)
        write_partition(store, partition, logits_table(logits), identity, {})
    return folder, images


def test_thumbnails_are_there_when_the_images_are_given(pictures, tmp_path):
    folder, images = pictures
    out = tmp_path / "p.html"
    args = ("report", "-d", "noise", "--cache", folder / "cache", "-o", out)
    assert cascade(*args).status == 0
    assert read(out)[0]["images"]["thumbnails"] == {}
    assert cascade(*args, "--data", folder / "images").status == 0
    facts, arrays = read(out)
    small = facts["images"]["thumbnails"]
    assert set(map(int, small)) == set(arrays["image"][arrays["example"]].tolist())
    assert len(small) > 5
    for sample, text in small.items():
        shown = Image.open(io.BytesIO(base64.b64decode(text)))
        assert shown.size == (32, 32)
        one, other = (
            np.asarray(picture.convert("L"), float).ravel()
            for picture in (shown, Image.fromarray(images[int(sample)]))
        )
        assert np.corrcoef(one, other)[0, 1] > 0.9


def test_other_images_are_refused(pictures, tmp_path):
    folder, _ = pictures
    args = ("report", "-d", "noise", "--cache", folder / "cache", "-o", tmp_path / "p.html")
    assert "holds other images" in cascade(*args, "--data", folder / "others").refusal
    assert not (tmp_path / "p.html").exists()


numbers = st.one_of(
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40).map(lambda v: np.array(v, np.int64)),
    st.lists(st.floats(allow_nan=True), max_size=40).map(lambda v: np.array(v, np.float64)),
)


@given(st.dictionaries(st.text("abc", min_size=1), numbers, max_size=4), st.text())
def test_what_is_packed_comes_out_again(arrays, text):
    facts, found = packing.unpack(packing.pack({"text": text}, arrays))
    assert facts == {"text": text}
    assert list(found) == list(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype.itemsize <= 8


def test_numbers_too_large_for_the_page_are_refused():
    with pytest.raises(ValueError, match="32 bits"):
        packing.pack({}, {"k": np.array([2**40])})


def synthetic(models, n, classes, split, seed):
    """Models of growing skill whose scores tell their margins, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n).astype(np.int32)
    skill = np.linspace(0.5, 2.2, models)[:, None]
    margin = skill - rng.standard_normal(n) + 0.7 * rng.standard_normal((models, n))
    wrong = (labels + 1 + rng.integers(0, classes - 1, (models, n))) % classes
    sure = 1 / (1 + np.exp(0.5 - 2 * abs(margin) - 0.5 * rng.standard_normal((models, n))))
    scores = {"maxp": sure, "difference": sure**2, "entropy": 1 - sure**3}
    names = tuple(f"model_number_{i:02d}" for i in range(models))
    return score_set(labels, np.where(margin > 0, labels, wrong), scores, names, split)


@pytest.mark.slow
def test_forty_models_on_fifty_thousand_images_fit_into_ten_megabytes(tmp_path):
    from stages.costs import Pricer

    reported, fitting = (synthetic(40, 50_000, 1000, s, i) for i, s in enumerate(("test", "val")))
    plan = FitPlan("other-split", "val", fitting, ())
    macs = {name: int(1e8 * 1.12**i) for i, name in enumerate(reported.models)}
    pricer = Pricer(reported, some_macs(macs))
    out, store = tmp_path / "p.html", Store(tmp_path / "cache")
    told = report.run(store, reported, plan, out, pricer=pricer)
    assert out.stat().st_size < 10e6
    assert told.page_corners > 150
    assert told.page_off < 0.001
    facts, arrays = read(out)
    for i, (pick, corners, _) in enumerate(sweeps(facts, arrays)):
        if i % 997 == 0:
            limit, k, right, _ = corners[len(corners) // 3]
            found = decide(reported, Cascade.of(pick[:2], pick[2], limit, postcheck=pick[3]))
            assert (found.escalated.sum(), found.correct.sum()) == (k, right)
