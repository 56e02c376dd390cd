"""Files of losses, good and hostile, and the credit of answers against sums of decimals."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import permutations

import numpy as np
import pytest
from helpers import LOSS_TEXTS, loss_matrix, loss_of, make_cache, random_scores, write_logits
from hypothesis import given, settings, strategies as st
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

import cache
from cache import InputError
from stages.scores import load, parse_loss, with_loss

ANIMALS = ("cat", "dog", "fox")
MATRIX = [["0", "1", "2.5"], ["0.1", "0", "3"], ["4", "0.05", "0"]]


def _written(folder, text, name="loss.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def _numbers(loss):
    """The user's, from the integers, exactly."""
    return [[Decimal(int(cell)) / loss.scale for cell in row] for row in loss.matrix]


def _expected(rows=MATRIX):
    return [[Decimal(cell) for cell in row] for row in rows]


def _csv(names, header, beside, corner=""):
    order = [ANIMALS.index(name) if name in ANIMALS else int(name) for name in names]
    lines = [[MATRIX[t][a] for a in order] for t in order]
    if beside:
        lines = [[name, *line] for name, line in zip(names, lines, strict=True)]
    if header:
        lines = [[corner, *names] if beside else names, *lines]
    return "\n".join(",".join(line) for line in lines)


@pytest.mark.parametrize("names", [*permutations(ANIMALS), ("2", "0", "1"), ("0", "1", "2")])
@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("corner", ["", "true \\ answered"])
def test_a_table_with_names_in_any_order(tmp_path, names, sides, corner):
    path = _written(tmp_path, _csv(names, *sides, corner))
    assert _numbers(parse_loss(path, ANIMALS)) == _expected()
    if names[0] not in ANIMALS:
        assert _numbers(parse_loss(path)) == _expected()


def test_rows_and_columns_may_be_in_different_orders(tmp_path):
    text = ",fox,cat,dog\ndog,3,0.1,0\ncat,2.5,0,1\nfox,0,4,0.05\n"
    assert _numbers(parse_loss(_written(tmp_path, text), ANIMALS)) == _expected()


@pytest.mark.parametrize(
    "text",
    [
        "0.5\n2\n1\n",
        "weight\n0.5\n2\n1\n",
        "fox,1\ncat,0.5\ndog,2\n",
        "class,weight\ndog,2\nfox,1\ncat,0.5\n",
        "2,1\n0,0.5\n1,2\n",
        "\ufeffclass,weight\r\n\r\ndog, 2\r\nfox,1\r\ncat,5e-1\r\n",
    ],
)
def test_weights_of_classes_in_a_table(tmp_path, text):
    found = parse_loss(_written(tmp_path, text), ANIMALS)
    expected = [[0, 0.5, 0.5], [2, 0, 2], [1, 1, 0]]
    assert (found.matrix / found.scale).tolist() == expected


@pytest.mark.parametrize(
    "value",
    [
        [[0, 1, 2.5], [0.1, 0, 3], [4, 0.05, 0]],
        {
            "dog": {"fox": 3, "cat": 0.1},
            "fox": {"cat": 4, "dog": 0.05},
            "cat": {"dog": 1, "fox": 2.5},
        },
        {"1": {"2": 3, "0": 0.1, "1": 0}, "2": {"0": 4, "1": 0.05}, "0": {"1": 1, "2": 2.5}},
    ],
)
def test_json_matrices(tmp_path, value):
    found = parse_loss(_written(tmp_path, json.dumps(value), "loss.json"), ANIMALS)
    assert _numbers(found) == _expected()


@pytest.mark.parametrize(
    "value", [[0.5, 2, 1], [[0.5], [2], [1]], {"fox": 1, "cat": 0.5, "dog": 2}]
)
def test_json_weights(tmp_path, value):
    found = parse_loss(_written(tmp_path, json.dumps(value), "loss.json"), ANIMALS)
    assert (found.matrix / found.scale).tolist() == [[0, 0.5, 0.5], [2, 0, 2], [1, 1, 0]]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0,1\n-1,0\n", "negative"),
        ("0,nan\n1,0\n", "no finite number"),
        ("0,inf\n1,0\n", "no finite number"),
        ("0,x,1\n1,0,1\n1,1,0\n", "0 rows|rows of|not all|no finite number|class"),
        ("0,1\n1\n", "not all as long"),
        ("0,1,2\n3,0,2\n", "2 rows of 3 numbers"),
        ("", "not all as long"),
        ("0,0\n0,0\n", "every loss is 0"),
        ("0,1e999999999\n1,0\n", "too many digits"),
        ("0,1e-999999999\n1,0\n", "too many digits"),
        ("0," + "1" * 5000 + "\n1,0\n", "too many digits"),
        ("0,0.123456789123\n1,0\n", "too many digits"),
        ("0,3000000000\n1,0\n", "too many digits"),
        ("0,1\n1,\n", "no finite number|class"),
        ('0,"1\n1,0\n', "no CSV|not all as long"),
        ("a,1\na,2\n", "twice|class"),
        ("cat,0,1\nemu,1,0\n", "class"),
    ],
)
def test_hostile_tables_are_told_in_one_line(tmp_path, text, why):
    with pytest.raises(InputError, match=why) as told:
        parse_loss(_written(tmp_path, text), ("cat", "dog"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("3", "give lists"),
        ("[]", "0 rows"),
        ("[[0, NaN], [1, 0]]", "NaN is no finite number"),
        ("[[0, 1], [true, 0]]", "no finite number"),
        ("[[0, null], [1, 0]]", "no finite number"),
        ("[[0, [1]], [1, 0]]", "no finite number"),
        ('{"cat": {"dog": 1}, "cat": {"dog": 2}}', "twice"),
        ('{"cat": {"dog": 1}, "dog": 2}', "differ in the class"),
        ('{"cat": {"dog": 1}, "dog": {"emu": 2}}', "differ in the class"),
        ('{"cat": 1, "emu": 2}', "class"),
        ("[[0, 1e400], [1, 0]]", "too many digits"),
    ],
)
def test_hostile_json_is_told_in_one_line(tmp_path, text, why):
    with pytest.raises(InputError, match=why) as told:
        parse_loss(_written(tmp_path, text, "loss.json"), ("cat", "dog"))
    assert "\n" not in str(told.value)


def test_what_is_no_file_says_what_to_give(tmp_path):
    for text in (str(tmp_path), str(tmp_path / "none.csv"), "top0", "top-5", "a\0b"):
        with pytest.raises(InputError, match="give a file, or top5"):
            parse_loss(text)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        parse_loss(str(tmp_path / "bytes.csv"))


@given(numbers=st.lists(st.decimals(0, 99, places=4), min_size=4, max_size=4).filter(any))
@settings(max_examples=60)
def test_integers_over_the_scale_are_the_decimals(tmp_path_factory, numbers):
    a, b, c, d = map(str, numbers)
    path = _written(tmp_path_factory.mktemp("loss"), f"{a},{b}\n{c},{d}\n")
    found = parse_loss(path)
    assert _numbers(found) == [[Decimal(a), Decimal(b)], [Decimal(c), Decimal(d)]]
    assert found.scale <= 10_000


@pytest.mark.parametrize("kind", LOSS_TEXTS)
def test_credit_is_minus_the_loss_of_each_answer(tmp_path, kind):
    scores, matrix = random_scores(np.random.default_rng(3), 300), loss_matrix(kind)
    found = with_loss(None, scores, loss_of(kind, tmp_path))
    for m, answers in enumerate(scores.predictions):
        told = [matrix[t][a] for t, a in zip(scores.labels, answers, strict=True)]
        assert [-int(c) for c in found.credit[m]] == [each * found.loss.scale for each in told]
        counts = confusion_matrix(scores.labels, answers, labels=range(3))
        costs = np.array(matrix, float)
        assert -found.credit[m].sum() / found.loss.scale == pytest.approx((counts * costs).sum())
    widest = found.credit.max().astype(np.int64) - found.credit.min()
    assert widest <= np.iinfo(found.credit.dtype).max
    kept = found.of_images(np.arange(300) % 7 == 0)
    assert kept.credit.tolist() == found.credit[:, ::7].tolist()
    assert kept.loss is found.loss


def test_without_a_loss_credit_is_whether_it_is_right():
    scores = random_scores(np.random.default_rng(3), 30)
    assert scores.credit.dtype == np.int8
    assert scores.credit.tolist() == scores.correct.astype(int).tolist()


def test_a_loss_of_fewer_classes_than_there_are(tmp_path):
    loss = parse_loss(_written(tmp_path, "0,1\n1,0\n"))
    with pytest.raises(InputError, match="has 2 classes, and the images have class 2"):
        with_loss(None, random_scores(np.random.default_rng(3), 30), loss)


def test_sums_that_would_not_be_exact_are_refused(tmp_path):
    loss = parse_loss(_written(tmp_path, "0,2147483647,1\n1,0,1\n1,1,0\n"))
    with pytest.raises(InputError, match="too many digits to be summed exactly over 30 images"):
        with_loss(None, random_scores(np.random.default_rng(3), 30), loss)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_is_that_of_the_logits(tmp_path, k):
    store = make_cache(tmp_path, n=80, classes=5)
    scores = load(store, "toy", "test")
    found = with_loss(store, scores, parse_loss(f"top{k}"))
    for m, model in enumerate(scores.models):
        [manifest] = [
            each
            for each in cache.find(store, "logits", "toy", "test")
            if each.partition.keys["model"] == model
        ]
        logits = np.concatenate([rows for _, rows in cache.iter_logits(store, manifest)])
        # Of equal logits the earlier class comes first, as in the answer.
        told = logits.astype(np.float64) - np.arange(5) * 1e-9
        assert (1 + found.credit[m]).mean() == top_k_accuracy_score(
            scores.labels, told, k=k, labels=range(5)
        )
    if k == 1:
        assert (1 + found.credit).tolist() == scores.correct.astype(int).tolist()
    part = scores.of_images(np.arange(80) % 3 == 1)
    again = with_loss(store, part, parse_loss(f"top{k}"))
    assert again.credit.tolist() == found.credit[:, 1::3].tolist()


def test_top_k_of_what_the_cache_does_not_know_names_the_model(tmp_path):
    store = make_cache(tmp_path, n=20, classes=5)
    scores = load(store, "toy", "test")
    [manifest] = [
        each
        for each in cache.find(store, "logits", "toy", "test")
        if each.partition.keys["model"] == "large"
    ]
    cache.withdraw(store, manifest.partition)
    with pytest.raises(InputError, match="5 most probable classes of large on toy/test: extract"):
        with_loss(store, scores, parse_loss("top5"))
    write_logits(store, "test", "large", scores.labels, np.zeros((20, 5), np.float32))
    assert with_loss(store, scores, parse_loss("top5")).credit.max() == 0
