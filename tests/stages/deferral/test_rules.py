"""`cascade rules`: its rows against single comparisons, plain loops and sums by hand."""

from __future__ import annotations

import shutil
from itertools import permutations

import naive
import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.special import logsumexp
from three_models import MACS, MODELS, N, make

from cascade_cli.show.rules import better
from stages import deferral
from stages.deferral import FINALS, RULES, Outputs, Pair
from stages.scores import whole
from stages.threshold import REPEATS, folds


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make(tmp_path_factory.mktemp("rules") / "cache")


def compare(*asked):
    """The columns of the rows."""
    return [row.columns() for row in deferral.compare(*asked)]


def ask(root, *args):
    return cascade("rules", "-d", "toy", "--cache", root, *args, "--json")


def pair_of(toy, split, a, b):
    _, logits, labels = toy
    return Pair(*(Outputs.of(whole(logits[split, m]), labels[split]) for m in (a, b)))


def ends(row, name):
    return [row[f"{name}{end}"] for end in ("", "_low", "_high")]


def test_a_pair_has_every_rule_final_and_objective(toy):
    found = ask(toy[0], "-m1", "small", "-m2", "large").json
    assert (found["split"], found["fit_split"], found["fit_method"]) == (
        *("test", "val"),
        "other-split",
    )
    assert found["notes"] == []
    rows = {(row["rule"], row["final"], row["objective"]): row for row in found["rows"]}
    assert len(rows) == len(found["rows"]) == len(RULES) * len(FINALS) * 2
    pairs = (pair_of(toy, split, "small", "large") for split in ("val", "test"))
    for expected in compare(*pairs):
        row = rows[expected["rule"], expected["final"], expected["objective"]]
        assert {key: row[key] for key in expected} == expected
        assert (row["model_1"], row["model_2"], row["candidates"]) == ("small", "large", 1)


def test_gain_is_paired_against_plain_maxp(toy):
    """From λ alone."""
    _, logits, labels = toy
    rows = ask(toy[0], "-m1", "small", "-m2", "large", "--rules", "maxp,margin").json["rows"]
    z_a, z_b = (logits["test", m] for m in ("small", "large"))
    scores = {"margin": np.diff(np.sort(z_a, axis=1))[:, -1]}
    e = np.exp(z_a.astype(float))
    scores["maxp"] = e.max(axis=1) / e.sum(axis=1)

    def right(row):
        limit = {"never": -np.inf, "always": np.inf}.get(row["threshold"], row["threshold"])
        to_b = scores[row["rule"]] < limit
        return np.where(to_b, z_b.argmax(axis=1), z_a.argmax(axis=1)) == labels["test"]

    plain, row = (
        next(r for r in rows if (r["rule"], r["final"], r["objective"]) == (rule, "b", "1se"))
        for rule in ("maxp", "margin")
    )
    won, lost = (right(row) & ~right(plain)).sum(), (right(plain) & ~right(row)).sum()
    assert won + lost
    assert ends(row, "gain") == pytest.approx(naive.paired_change(won, lost, N), abs=1e-9)
    assert ends(plain, "gain") == [0, 0, 0]
    assert ends(row, "accuracy") == pytest.approx(naive.wilson(right(row).sum(), N))
    assert ends(row, "usage") == pytest.approx(naive.wilson(round(row["usage"] * N), N))
    alone = {m: logits["val", m].argmax(axis=1) == labels["val"] for m in ("small", "large")}
    assert row["baseline"] == max(alone, key=lambda m: alone[m].sum()) == "large"
    alone = z_b.argmax(axis=1) == labels["test"]
    won, lost = (right(row) & ~alone).sum(), (alone & ~right(row)).sum()
    change = naive.paired_change(won, lost, N)
    assert ends(row, "accuracy_change") == pytest.approx(change, abs=1e-9)
    assert row["baseline_accuracy"] == alone.mean()


def test_costs_count_every_model_that_ran(toy):
    args = ("-m1", "small", "-m2", "large", "--third", "middle", "--finals", "b")
    rows = ask(toy[0], *args, "--rules", "maxp,entropy").json["rows"]
    assert {row["rule"] for row in rows} == {"maxp", "entropy", "agreement", "vote_share"}
    for row in rows:
        models = [*row["model_1"].split(","), row["model_2"]]
        *first, last = (MACS[model] for model in models)
        assert row["cost"] == pytest.approx(sum(first) + row["usage"] * last)
        assert (row["cost_1"], row["cost_2"]) == (sum(first), last)
        assert row["cost_unit"] == "multiply-adds"


def test_agreement_and_votes_image_by_image(toy):
    _, logits, labels = toy
    args = ("-m1", "small", "-m2", "large", "--rules", "maxp", "--finals", "b")
    rows = ask(toy[0], *args, "--third", "middle").json["rows"]
    answers = {m: logits["test", m].argmax(axis=1) for m in MODELS}
    agree = answers["small"] == answers["large"]
    right = np.where(agree, answers["small"], answers["middle"]) == labels["test"]
    [row] = [row for row in rows if row["rule"] == "agreement"]
    assert (row["model_1"], row["model_2"]) == ("small,large", "middle")
    assert (row["accuracy"], row["usage"]) == (right.mean(), (~agree).mean())
    assert (row["objective"], row["threshold"]) == (None, 1)
    votes = [row for row in rows if row["rule"] == "vote_share"]
    assert [row["objective"] for row in votes] == ["best", "1se"]
    possible = {answers[m].tobytes(): m for m in MODELS}
    assert len(possible) == 3
    for row in votes:
        values = {"never": (answers["small"] == labels["test"]).mean()}
        values["always"] = (answers["middle"] == labels["test"]).mean()
        assert row["accuracy"] == values.get(row["threshold"], right.mean())


def best_pair(toy, split, rule, final):
    def fitted(a, b):
        pair = pair_of(toy, split, a, b)
        [row] = compare(pair, Pair(pair.a, pair.b), [rule], [final], ["best"])
        return row["fit_accuracy"], -row["fit_usage"]

    return max(permutations(MODELS, 2), key=lambda pair: fitted(*pair))


ALL = ("--all-pairs", "--rules", "maxp,margin,maxp_t", "--finals", "b,ensemble")


def test_the_best_pair_is_chosen_on_the_fitting_images(toy):
    rows = ask(toy[0], *ALL).json["rows"]
    *rules, trio = rows
    assert [row["objective"] for row in rules] == ["best", "1se"] * 6
    for row in rules:
        a, b = best_pair(toy, "val", row["rule"], row["final"])
        assert (row["model_1"], row["model_2"], row["candidates"]) == (a, b, 6)
        pairs = (pair_of(toy, split, a, b) for split in ("val", "test"))
        [alone] = compare(*pairs, [row["rule"]], [row["final"]], [row["objective"]])
        assert {key: row[key] for key in alone} == alone
    assert (trio["rule"], trio["candidates"]) == ("agreement", 3)


def test_models_limit_the_pairs(toy):
    rows = ask(toy[0], *ALL, "--models", "small,middle").json["rows"]
    assert {model for row in rows for model in (row["model_1"], row["model_2"])} == {
        *("small", "middle"),
    }


class Naive:
    """The whole choice by plain loops: every pair, temperatures in three digits, every λ."""

    FEW = 40
    GRID = np.array([m / e for e in (1000, 100) for m in range(100, 1000)])

    def __init__(self, logits, labels):
        self.labels, self.n = labels, len(labels)
        self.logits = {model: logits["test", model] for model in MODELS}
        self.answers = {model: z.argmax(axis=1) for model, z in self.logits.items()}
        self.right = {model: answer == labels for model, answer in self.answers.items()}
        self.nll = {model: self._nll(z) for model, z in self.logits.items()}
        self.outputs, self.ensembles = {}, {}

    def _nll(self, z):
        x = z.astype(np.float64) / self.GRID[:, None, None]
        return logsumexp(x, axis=2) - x[:, np.arange(self.n), self.labels]

    def at(self, model, t):
        if (model, t) not in self.outputs:
            self.outputs[model, t] = Outputs.of(whole(self.logits[model]), self.labels, t)
        return self.outputs[model, t]

    def images(self, pair, rule, final, keep):
        """All images as the rule sees them, fitted where `keep` holds."""
        t = [1.0, 1.0]
        if rule.endswith("_t"):
            t = [float(self.GRID[self.nll[m][:, keep].mean(axis=1).argmin()]) for m in pair]
        key, (a, b) = (*pair, *t), (self.at(m, each) for m, each in zip(pair, t, strict=True))
        second = self.answers[pair[1]]
        if final == "ensemble":
            second = self.ensembles.setdefault(key, Pair(a, b).ensemble)
        s = a.scalars[rule.removesuffix("_t")]
        columns = self.labels, self.answers[pair[0]], second, s, np.zeros(self.n)
        return [naive.Image(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def chosen(self, rule, final, keep, pairs):
        """(pair, all its images, those that fit, its points) with the best fit, first of equals."""
        found = []
        for pair in pairs:
            images = self.images(pair, rule, final, keep)
            fit = [image for image, kept in zip(images, keep, strict=True) if kept]
            limits = ["never", "always", *sorted({image.s_a for image in fit})]
            points = naive.all_points("maxp", fit, False, limits)
            top = naive.best(points)
            found.append(((top.hits, -top.usage), pair, images, fit, points))
        return max(found, key=lambda each: each[0])[1:]

    def decided(self, rule, final, objective, keep, pairs):
        """(pair; bool [N] each: it answers rightly, the model one would deploy instead does)."""
        pair, images, fit, points = self.chosen(rule, final, keep, pairs)
        sent = naive.CHOOSE[objective](points).sent
        threshold = naive.interval("maxp", fit, sent)[0]
        right = np.array(naive.point("maxp", images, threshold, False).right)
        return pair, right, self.right[max(pair, key=lambda m: self.right[m][keep].sum())]

    def trio(self, keep):
        """The same of the best agreement of two with a third."""
        best, names = (-1, 0), sorted(MODELS)  # as the cache lists them
        for a in range(3):
            for b in range(a + 1, 3):
                [c] = {0, 1, 2} - {a, b}
                x, y, z = (self.answers[names[m]] for m in (a, b, c))
                right = np.where(x == y, x, z) == self.labels
                value = right[keep].sum(), -(x != y)[keep].sum()
                if value > best:
                    best, chosen, models = value, right, [names[m] for m in (a, b, c)]
        return models, chosen, self.right[max(models, key=lambda m: self.right[m][keep].sum())]


def told(decided, others, n):
    """(accuracy, change) with their ends, from what is right by repeat: bool [REPEATS, N]."""
    won, lost = ((one & ~two).sum(axis=1) for one, two in ((decided, others), (others, decided)))
    accuracies, changes = decided.mean(axis=1).tolist(), ((won - lost) / n).tolist()
    share = naive.wilson(decided.sum(axis=1).mean(), n)
    change = naive.paired_change(won.mean(), lost.mean(), n)
    return naive.repeated(accuracies, share), naive.repeated(changes, change)


def anew(choose, n):
    """What `choose` makes of every fold's others, put together by repeat: bool [REPEATS, n] right
    and the baseline right; and how many different cascades it took."""
    (right, alone), models = np.zeros((2, REPEATS, n), bool), set()
    for r in range(REPEATS):
        fold = folds(n, repeat=r)
        for f in range(5):
            held = fold == f
            names, cascade_right, other_right = choose(~held)
            right[r, held], alone[r, held] = cascade_right[held], other_right[held]
            models.add(tuple(names))
    return right, alone, len(models)


@pytest.mark.parametrize("objective", ["best", "1se"])
@pytest.mark.parametrize("pairs", ["all", "one"])
def test_without_another_split_each_fold_is_answered_by_the_choice_of_the_others(
    tmp_path, pairs, objective
):
    toy = make(tmp_path / "cache", splits=("test",), seed=4, n=Naive.FEW)
    plain, n = Naive(toy[1], toy[2]["test"]), Naive.FEW
    chosen = ("--all-pairs",) if pairs == "all" else ("-m1", "middle", "-m2", "large")
    result = ask(
        *(toy[0], *chosen, "--rules", "maxp,margin,maxp_t", "--finals", "b,ensemble"),
        *("--objective", objective),
    )
    assert result.json["fit_method"] == "cross-fit"
    assert "cross-fitted on test" in result.err
    among = list(permutations(sorted(MODELS), 2)) if pairs == "all" else [("middle", "large")]
    everyone, maxp, differing = np.ones(n, bool), None, []
    for row in result.json["rows"]:

        def choose(keep, row=row):
            if row["rule"] == "agreement":
                return plain.trio(keep)
            return plain.decided(row["rule"], row["final"], objective, keep, among)

        right, alone, kinds = anew(choose, n)
        if maxp is None:
            assert (row["rule"], row["final"]) == ("maxp", "b")
            maxp = right
            best_of_maxp, _, _ = anew(lambda k: plain.decided("maxp", "b", "best", k, among), n)
        accuracy, change = told(right, alone, n)
        _, gain = told(right, best_of_maxp if row["rule"] == "agreement" else maxp, n)
        assert ends(row, "accuracy") == pytest.approx(accuracy)
        assert ends(row, "accuracy_change") == pytest.approx(change)
        expected = (0, 0, 0) if (row["rule"], row["final"]) == ("maxp", "b") else gain
        assert ends(row, "gain") == pytest.approx(expected)
        models, in_sample, other = choose(everyone)
        assert [*row["model_1"].split(","), row["model_2"]] == list(models)
        assert row["fit_accuracy"] == in_sample.mean()
        assert row["baseline_accuracy"] == other.mean()
        assert ends(row, "usage") == pytest.approx(naive.wilson(round(row["usage"] * n), n))
        assert row["usage"] == row["fit_usage"]
        differing.append((kinds, row["accuracy"] != row["fit_accuracy"]))
    assert max(differing)[0] == 1 if pairs == "one" else max(differing)[0] > 1
    assert any(differs for _, differs in differing)
    assert not any("crossfit" in key for row in result.json["rows"] for key in row)


def test_cost_and_saving_are_those_of_the_deployed_cascade(tmp_path):
    """Cross-fitted or not, and a baseline that is asked for is the same in every fold."""
    toy = make(tmp_path / "cache", splits=("test",), seed=4)
    args = ("-m1", "small", "-m2", "large", "--rules", "maxp,margin", "--finals", "b")
    rows = {name: ask(toy[0], *args, *asked).json["rows"] for name, asked in BASELINES.items()}
    answers = {m: toy[1]["test", m].argmax(axis=1) == toy[2]["test"] for m in MODELS}
    for row, other in zip(*rows.values(), strict=True):
        assert row["cost"] == MACS["small"] + row["usage"] * MACS["large"]
        assert (row["baseline"], other["baseline"]) == ("large", "middle")
        for each in (row, other):
            alone = answers[each["baseline"]].mean()
            assert each["baseline_accuracy"] == alone
            assert each["saved"] == pytest.approx(1 - each["cost"] / MACS[each["baseline"]])
            assert each["accuracy_change"] == pytest.approx(each["accuracy"] - alone)
        same = ("accuracy", "usage", "gain", "threshold", "fit_accuracy", "cost")
        assert {key: row[key] for key in same} == {key: other[key] for key in same}


BASELINES = {"most accurate": (), "asked for": ("--baseline", "middle")}


def test_the_reported_split_may_fit_when_asked(toy):
    result = ask(toy[0], "-m1", "small", "-m2", "large", "--fit-split", "test")
    assert "this is optimistic" in result.err
    for row in result.json["rows"]:
        # Learned deferral fits λ on predictions of the other folds.
        if row["rule"] != "learned":
            assert (row["accuracy"], row["usage"]) == (row["fit_accuracy"], row["fit_usage"])


@pytest.fixture
def without_logits(toy, tmp_path):
    """Only scores of `large` are left, as where they were copied without the logits."""
    root = shutil.copytree(toy[0], tmp_path / "bare")
    assert cascade("score", "-d", "toy", "--cache", root).status == 0
    for split in ("test", "val"):
        for path in (root / "_manifests" / "logits" / "dataset=toy" / f"split={split}").rglob("*"):
            if path.name == "model=large.json":
                path.unlink()
    return root


def test_scores_alone_leave_out_what_needs_logits(toy, without_logits):
    args = ("-m1", "small", "-m2", "large", "--objective", "best")
    result = ask(without_logits, *args)
    rows = result.json["rows"]
    assert {(row["rule"], row["final"]) for row in rows} == {
        (rule, final)
        for rule in ("maxp", "difference", "entropy", "learned")  # learned looks at A alone
        for final in ("b", "postcheck")
    }
    [note] = result.json["notes"]
    assert note in result.err
    assert note.startswith("the cache has scores but no logits of large: margin, energy,")
    whole_rows = ask(toy[0], *args).json["rows"]
    assert all(row in whole_rows for row in rows)
    refusal = ask(without_logits, *args, "--rules", "energy").refusal
    assert "which leaves none: extract or import logits" in refusal
    refusal = ask(without_logits, *args, "--rules", "entropy", "--finals", "ensemble").refusal
    assert "ensemble are left out where they need them, which leaves none" in refusal
    # The best of all pairs is then that of the pairs that can be told.
    rows = ask(without_logits, "--all-pairs", "--rules", "maxp,energy").json["rows"]
    candidates = {(row["rule"], row["final"]): row["candidates"] for row in rows}
    assert candidates["maxp", "b"] == 6
    assert candidates["energy", "b"] == candidates["maxp", "ensemble"] == 2


def test_the_result_is_written(toy, tmp_path):
    args = ("-m1", "small", "-m2", "large", "--third", "middle")
    rows = ask(toy[0], *args, "-o", tmp_path / "rules.csv").json["rows"]
    files = list((toy[0] / "results" / "rules").rglob("*.parquet"))
    assert len(pl.read_csv(tmp_path / "rules.csv")) == len(rows) == 57
    tables = [pl.read_parquet(file, hive_partitioning=False) for file in files]
    [table] = [table for table in tables if len(table) == len(rows)]
    assert table["gain"].to_list() == [row["gain"] for row in rows]
    assert set(table.columns) == {*rows[0], "mode"} - {"split"}  # which the folder says


def test_the_table_says_what_it_shows(toy):
    result = cascade("rules", "-d", "toy", "--cache", toy[0], "--all-pairs", "--rules", "maxp")
    head, first, *_ = result.out.splitlines()
    assert head.split()[:3] == ["cascade", "rule", "final"]
    assert "+0.00 (+0.00 to +0.00)" in first
    said = " ".join(result.out.split())
    assert "λ fitted on val (80 images, other-split), reported on test (80 images)" in said
    assert "each the best of up to 6 cascades by its accuracy on val" in result.out


def test_the_table_says_whose_accuracy_it_shows(tmp_path):
    toy = make(tmp_path / "cache", splits=("test",), n=30)
    args = ("rules", "-d", "toy", "--cache", toy[0], "--all-pairs", "--rules", "maxp")
    rows, result = cascade(*args, "--json").json["rows"], cascade(*args)
    said = " ".join(result.out.split())
    assert (
        "accuracy and gain are those of images that had no part in the choice: 10 × 5 folds of "
        "test (30 images, cross-fit), each decided by what the others choose; λ, use and costs are "
        "those of the choice on all; intervals of 95 %"
    ) in said
    for row, line in zip(rows, result.out.splitlines()[1:], strict=False):
        low, high = (f"{100 * row[f'accuracy_{end}']:.2f}" for end in ("low", "high"))
        assert f"{row['accuracy']:.2%} ({low} to {high})" in line
        assert f" {row['usage']:.1%} " in line
    assert "cross-fitted" not in result.out.splitlines()[0]


def _row(rule, final, low):
    ends = {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 1.0}
    ends |= {name.replace("accuracy", "usage"): value for name, value in ends.items()}
    ends |= {"gain": low + 0.01, "gain_low": low, "gain_high": low + 0.02}
    ends |= {"accuracy_1": 0.9, "accuracy_2": 0.9, "fit_accuracy": 0.9, "fit_usage": 0.1}
    names = {"model_1": "small,middle", "model_2": "large", "objective": "best", "split": "test"}
    counts = {"n": 10, "fit_n": 10, "candidates": 1, "fit_split": "val", "fit_method": "given"}
    about = {"rule": rule, "final": final, "threshold": 0.5}
    return deferral.RuleRow.of(ends | names | counts | about)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "nothing is compared"),
        ([_row("margin", "b", 0.0)], "of 1 row compared with plain maxp none is surely more"),
        (
            [_row("margin", "b", -0.01), _row("learned", "ensemble", 0.01)],
            "of 2 rows compared with plain maxp 1 is surely more accurate, where about one in "
            "forty would be by chance: learned with ensemble, best, of small + middle → large",
        ),
    ],
)
def test_a_sentence_tells_what_surely_beats_plain_maxp(rows, said):
    assert said in better([_row("maxp", "b", 0.0), *rows])


def test_the_sentence_counts_the_rows_of_the_table(toy):
    asked = ("rules", "-d", "toy", "--cache", toy[0], "--all-pairs")
    rows = cascade(*asked, "--json").json["rows"]
    others = [row for row in rows if (row["rule"], row["final"]) != ("maxp", "b")]
    sure = sum(row["gain_low"] > 0 for row in others)
    told = " ".join(cascade(*asked).out.split()).partition(" of 53 rows compared with ")[2]
    assert len(others) == 53
    assert told.startswith(f"plain maxp {sure or 'none'} ")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--third", "middle"), "--third stands behind two models: give -m1 A and -m2 B"),
        (("-m1", "small", "-m2", "large", "--third", "large"), "names a model twice"),
        (("--committee", "small,large"), "--committee needs three models"),
        (("--rules", "maxq"), "unknown rule 'maxq': did you mean 'maxp'?"),
        (("--finals", "both"), "unknown final 'both'"),
        (("--objective", "worst"), "unknown objective 'worst'"),
        (("-m1", "small", "-m2", "nobody"), "no logits of model nobody"),
        (("--models", "small"), "one model only"),
    ],
)
def test_refusals(toy, args, told):
    assert told in ask(toy[0], *args).refusal
