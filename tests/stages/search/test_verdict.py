"""What is said of an answer: the verdict first, then what it saves and how sure, then how."""

from __future__ import annotations

import pytest

from stages.cascade import Cascade
from stages.search import (
    ACCURACY,
    BEST,
    CANNOT_TELL,
    CERTIFY,
    COST,
    MEETS,
    MISSES,
    AnswerRow,
    Question,
    sentences,
)
from stages.search.verdict import Verdict, reached_by, target_of

PAIR = Cascade.of(("small", "large"), "maxp", 0.5, postcheck=True)
CHAIN = Cascade.of(("small", "mid", "large"), "maxp", 0.5, 0.5)
SMALL, LARGE = Cascade.of(("small",)), Cascade.of(("large",))
ROW = {
    "kind": "answer",
    "model_1": "small",
    **dict(zip(("accuracy", "accuracy_low", "accuracy_high"), (0.972, 0.968, 0.976), strict=True)),
    "accuracy_change": -0.004,
    "accuracy_change_low": -0.014,
    "accuracy_change_high": 0.006,
    **dict(zip(("saved", "saved_low", "saved_high"), (0.872, 0.85, 0.895), strict=True)),
    **dict(zip(("cost", "cost_low", "cost_high"), (105_698, 87_410, 123_985), strict=True)),
    "cost_unit": "multiply-adds",
    **dict.fromkeys(("usage", "usage_low", "usage_high"), 0.068),
    "usage_2": 0.012,
    "baseline": "large",
    "baseline_accuracy": 0.976,
    "matched": None,
    "n": 5000,
    "split": "test",
    "fit_split": "val",
    "fit_method": "other-split",
    "fit_n": 500,
}
MATCHED = {"matched": "large"}
DEARER = {"saved": -0.1, "saved_low": -0.2, "saved_high": -0.05}
BETTER = {"accuracy_change": 0.01, "accuracy_change_low": 0.005, "accuracy_change_high": 0.015}
WORSE = {"accuracy_change": -0.03, "accuracy_change_low": -0.04, "accuracy_change_high": -0.02}
MATCH, ACCURATE = Question(), Question(ACCURACY, 0.98)
SURE = Question(ACCURACY, 0.98, confidence=0.95)
CHEAP, ACCURATEST = Question(COST, 1e5), Question(BEST)

FIRST = {
    (MATCH, PAIR, MEETS): "MEETS, WORTH IT: small → large matches large within 1 point (95% sure).",
    (MATCH, SMALL, MEETS): "MEETS: small alone matches large within 1 point (95% sure). NOT WORTH "
    "IT: no cascade that does so is cheaper.",
    (MATCH, LARGE, MEETS): "NOTHING SAVES: no cascade looks as accurate as large for less.",
    (MATCH, PAIR, MISSES): "MISSES, NOT WORTH IT: small → large is 1 point or more less accurate "
    "than large (95% sure).",
    (ACCURATE, PAIR, MEETS): "MEETS, WORTH IT: small → large reaches 98%.",
    (ACCURATE, SMALL, MEETS): "MEETS: small alone reaches 98%. NOT WORTH IT: no cascade that does "
    "so is cheaper.",
    (ACCURATE, PAIR, MISSES): "MISSES, NOT WORTH IT: small → large misses 98%: 97.2% of 5,000 test "
    "images (96.8% to 97.6%). For assurance add --confidence 0.95.",
    (ACCURATE, PAIR, CANNOT_TELL): "CANNOT TELL whether small → large reaches 98%: 97.2% of 5,000 "
    "test images (96.8% to 97.6%). For assurance add --confidence 0.95.",
    (SURE, PAIR, MEETS): "MEETS, WORTH IT: small → large reaches 98% (95% sure).",
    (SURE, PAIR, MISSES): "MISSES, NOT WORTH IT: small → large misses 98%: 97.2% of 5,000 test "
    "images (96.8% to 97.6%). No cascade passed the test.",
    (CHEAP, PAIR, MEETS): "MEETS: small → large costs at most 100 k multiply-adds. CANNOT TELL "
    "whether it is worth it.",
    (CHEAP, SMALL, MEETS): "MEETS: small alone costs at most 100 k multiply-adds. NOT WORTH IT: no "
    "cascade that does so is more accurate.",
    (CHEAP, PAIR, MISSES): "MISSES, NOT WORTH IT: small → large costs more than 100 k "
    "multiply-adds: 105.7 k (87.4 k to 124.0 k) on test. For assurance add --confidence 0.95.",
    (ACCURATEST, PAIR, CANNOT_TELL): "CANNOT TELL whether small → large is more accurate than "
    "large, the best single model.",
    (ACCURATEST, LARGE, MEETS): "NOT WORTH IT: no cascade looks more accurate than large alone.",
    (Question(CERTIFY), PAIR, MEETS): "MEETS, WORTH IT: small → large keeps its promise.",
}


def _said(question, point, target, row=None, **how):
    about = AnswerRow.of(ROW | (MATCHED if question == MATCH else {}) | (row or {}))
    return sentences(Verdict(question, point, about, target, **how))


@pytest.mark.parametrize(("asked", "said"), FIRST.items(), ids=lambda x: str(x)[:60])
def test_the_verdict_comes_first(asked, said):
    assert _said(*asked)[0] == said


WHY = {
    "gain": (CHEAP, MEETS, BETTER, {}, "MEETS, WORTH IT: small → large costs at most 100 k "
             "multiply-adds."),
    "most accurate": (ACCURATEST, MEETS, BETTER, {}, "MEETS, WORTH IT: small → large is more "
                      "accurate than large, the best single model."),
    "less accurate": (ACCURATEST, MISSES, WORSE, {}, "MISSES, NOT WORTH IT: small → large is less "
                      "accurate than large, the best single model."),
    "none alone": (ACCURATE, MEETS, DEARER | BETTER, {"reached": False}, "COSTS MORE than large, "
                   "and yet MEETS, WORTH IT: small → large reaches 98%, which no single model "
                   "does."),
    "dearer": (ACCURATEST, CANNOT_TELL, DEARER, {}, "COSTS MORE than large. CANNOT TELL whether "
               "small → large is more accurate than large, the best single model."),
    "rival": (MATCH, MEETS, {}, {"rival": "small"}, "MEETS: small → large matches large within 1 "
              "point (95% sure). NOT WORTH IT: small alone costs no more and was no worse."),
    "too few": (MATCH, CANNOT_TELL, {}, {"needed": 9123}, "CANNOT TELL whether small → large "
                "matches large within 1 point: that takes about 9,200 images, here are 5,000."),
    "too few, held out": (MATCH, CANNOT_TELL, {"fit_method": "hold-out", "fit_n": 2143},
                          {"needed": 7000}, "CANNOT TELL whether small → large matches large "
                          "within 1 point: that takes about 10,000 images, here are 7,143."),
    "enough": (MATCH, CANNOT_TELL, {}, {"needed": 100}, "CANNOT TELL whether small → large matches "
               "large within 1 point: it may be 1.4 points less accurate."),
    "chose": (MATCH, CANNOT_TELL, {}, {"chose": True}, "CANNOT TELL whether small → large matches "
              "large within 1 point: the images that chose it cannot test it, give another "
              "--fit-split."),
    "neither": (ACCURATEST, CANNOT_TELL, DEARER | {"accuracy_change_high": 0.0}, {}, "COSTS MORE "
                "than large. CANNOT TELL whether small → large is more accurate than large, the "
                "best single model. NOT WORTH IT: neither cheaper nor more accurate than large."),
}  # fmt: skip


@pytest.mark.parametrize(("question", "target", "row", "how", "said"), WHY.values(), ids=WHY)
def test_what_decides_the_first_words(question, target, row, how, said):
    assert _said(question, PAIR, target, row, **how)[0] == said


def test_figures_have_one_interval_each_and_no_number_twice():
    told = " ".join(_said(ACCURATE, PAIR, CANNOT_TELL)[1:])
    assert told == (
        "87% fewer multiply-adds than large (85% to 90%); 0.4 points less accurate (could be "
        "chance: −1.4 to +0.6). small answers every image, large the 6.8% where it is unsure, and "
        "the surer answer counts."
    )
    told = _said(MATCH, PAIR, MEETS)[1]  # what is known of the difference is in the verdict
    assert told == (
        "87% fewer multiply-adds than large (85% to 90%); 0.4 points less accurate: 97.2% of 5,000 "
        "test images."
    )
    told = _said(CHEAP, PAIR, MEETS, BETTER)[1]
    assert "; 1.0 points more accurate (0.5 to 1.5): " in told


def test_saving_and_accuracy_may_be_against_two_models():
    _, saved, accuracy, _ = _said(MATCH, PAIR, MEETS, {"baseline": "mid"})
    assert saved == (
        "87% fewer multiply-adds than mid, the cheapest single model that matches (85% to 90%)."
    )
    assert accuracy == "0.4 points less accurate than large: 97.2% of 5,000 test images."


def test_which_images_say_so():
    told = _said(ACCURATEST, PAIR, MEETS, BETTER | {"fit_method": "cross-fit"})[1]
    assert "(this λ on all 5,000); 1.0 points more accurate" in told
    assert told.endswith("97.2% of 5,000 test images, cross-fitted.")
    told = _said(MATCH, PAIR, MEETS, {"fit_method": "hold-out"})[1]
    assert "97.2% of the 5,000 test images that tested it" in told


@pytest.mark.parametrize(
    ("unit", "saved", "low", "high", "said"),
    [
        ("J", 0.1, -0.686, 0.837, "10% less energy than large (from 69% more, to 84%)"),
        ("ms", -0.02, -0.023, -0.016, "2.0% more time than large (1.6% to 2.3%)"),
        ("multiply-adds", 0.02, 0.016, 0.023, "2.0% fewer multiply-adds than large (1.6% to 2.3%)"),
        ("model runs", 0.0001, -0.02, 0.02, "As many model runs as large"),
        ("J", 0.0001, -0.02, 0.02, "As much energy as large"),
    ],
)
def test_what_is_saved(unit, saved, low, high, said):
    row = {"saved": saved, "saved_low": low, "saved_high": high, "cost_unit": unit}
    assert _said(CHEAP, PAIR, MEETS, row)[1].startswith(f"{said};")


def test_one_model_and_three():
    assert _said(MATCH, LARGE, MEETS)[1] == (
        "large alone is right on 97.2% of 5,000 test images, at 105.7 k multiply-adds a request."
    )
    assert _said(MATCH, SMALL, MEETS)[1].startswith("small alone: 87% fewer multiply-adds")
    assert _said(MATCH, CHAIN, MEETS)[2] == (
        "small answers every image, mid the 6.8% where it is unsure, large the 1.2% where that is "
        "unsure too."
    )


def test_the_next_cheaper_model_is_told_where_it_nearly_does():
    near = "mid alone does not pass: it may be 1.4 points less accurate."
    assert _said(MATCH, PAIR, MEETS, near=near)[-1] == near


@pytest.mark.parametrize(
    ("question", "row", "word"),
    [
        (ACCURATE, {"accuracy_low": 0.98}, MEETS),
        (ACCURATE, {"accuracy_high": 0.98}, CANNOT_TELL),
        (ACCURATE, {"accuracy_high": 0.9799}, MISSES),
        (CHEAP, {"cost_high": 1e5}, MEETS),
        (CHEAP, {"cost_low": 1e5}, CANNOT_TELL),
        (CHEAP, {"cost_low": 100_001}, MISSES),
        (ACCURATEST, BETTER, MEETS),
        (ACCURATEST, {}, CANNOT_TELL),
        (ACCURATEST, WORSE, MISSES),
    ],
)
def test_the_target_follows_from_the_interval(question, row, word):
    whole = ROW | {"accuracy_low": 0.97, "accuracy_high": 0.99, "cost_low": 9e4, "cost_high": 2e5}
    told = AnswerRow.of(whole | row)
    goals = reached_by(question, told, None, None)
    assert target_of(question, told, alone=False, goals=goals) == word
