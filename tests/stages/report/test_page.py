"""The page in a real browser: what it shows after clicks and keys, against the commands' JSON."""

from __future__ import annotations

import re
import shutil

import naive
import numpy as np
import pytest
from browser import chromium, visiting
from helpers import MODELS, cost_row, make_cache, write_request_costs
from running import DIGITS, cascade

from cache import Store
from stages import costs
from stages.costs import figures
from stages.scores import load

pytestmark = pytest.mark.slow
PAIR = ("digits_separable", "digits_residual")
MS = dict(zip(DIGITS, (0.3, 0.5, 0.9, 2.4), strict=True))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """The digits with latencies of their models and of a hash, and one live run."""
    folder = tmp_path_factory.mktemp("page")
    root = folder / "cache"
    assert cascade("extract", "--cache", root).status == 0
    store = Store(root)
    for name, value in MS.items():
        about = {"device": "nano", "latency_sd_ms": value / 5, "runs": 50}
        rows = [cost_row(name, value, **about), cost_row(name, 4 * value, batch_size=8, **about)]
        costs.merge(store, "digits", rows)
    hashed = cost_row(costs.HASH + "dhash", 0.04, device="nano", component="hash")
    costs.merge(store, "digits", [hashed])
    assert cascade("hash", "-d", "digits", "--cache", root, "--algorithms", "dhash").status == 0
    live = ("-m1", PAIR[0], "-m2", PAIR[1], "--limit", "40", "--batch-size", "8")
    ran = cascade("live", *live, "--cache", root, "--json").json
    return folder, root, ran


@pytest.fixture(scope="module")
def page(desk):
    return written(desk, "page.html", "-m1", PAIR[0], "-m2", PAIR[1], "-s", "maxp")


@pytest.fixture(scope="module")
def alone(desk):
    """The same with one split only."""
    folder, root, ran = desk
    shutil.copytree(root, folder / "one")
    removed = ("cache", "rm", "--split", "val", "--yes", "--cache", folder / "one")
    assert cascade(*removed).status == 0
    return folder, folder / "one", ran


def written(desk, name, *options):
    folder, root, _ = desk
    args = ("-d", "digits", "--cost-device", "nano", "--cost", "latency", "--cache", root)
    assert cascade("report", *args, "-o", folder / name, *options).status == 0
    return folder / name


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser, page):
    with visiting(browser, page) as found:
        yield found


def told(desk, *command):
    args = ("--cost-device", "nano", "--cost", "latency") if command[0] != "heterogeneity" else ()
    return cascade(*command, "--dataset", "digits", "--cache", desk[1], *args, "--json").json


def simulated(desk, visit, *more, against="saved"):
    """What `simulate` says of the cascade that the page shows, against the page's own baseline, or
    the model that accuracy is held against."""
    a, b, score = (
        visit.page.eval_on_selector(f"#pick-{name}", "e => e.selectedOptions[0].text")
        for name in ("a", "b", "score")
    )
    check = ["-p"] if visit.page.is_checked("#pick-post") else []
    limit = visit.page.get_attribute("#lambda", "data-value")
    tile = f"#figures div:has(data[data-name={against}]) dt"
    base = visit.text(tile).removesuffix(" on these images").split()[-1]
    asked = ("-m1", a, "-m2", b, "-s", score, "-t", limit, *check, "--baseline", base)
    return told(desk, "simulate", *asked, *more)


def agrees(desk, visit, *more):
    """Every figure that is shown is the one that `simulate` prints."""
    found, shown = simulated(desk, visit, *more), visit.figures()
    held = simulated(desk, visit, *more, against="accuracy_change")
    found |= {key: held[key] for key in held if key.startswith("accuracy_change")}
    assert (shown["accuracy"], shown["usage"]) == (found["accuracy"], found["usage"])
    names = [
        f"{name}{end}"
        for name in ("cost", "saved", "accuracy_change")
        for end in ("", "_low", "_high")
    ]
    for name in names:
        assert shown[name] == pytest.approx(found[name], rel=1e-12, abs=1e-12), name
    for name in ("accuracy", "usage"):
        ends = [shown[f"{name}{end}"] for end in ("", "_low", "_high")]
        assert ends == pytest.approx(naive.wilson(round(found[name] * found["n"]), found["n"]))
    return found


def slide(visit, at):
    visit.page.eval_on_selector(
        "#slider",
        "(e, at) => { e.value = Math.round(at * e.max); e.dispatchEvent(new Event('input')); }",
        at,
    )


@pytest.mark.parametrize("size", [1, 8])
def test_the_slider_shows_what_simulate_says(desk, browser, size):
    pair = ("-m1", PAIR[0], "-m2", PAIR[1], "-s", "entropy", "--batch-size", size)
    with visiting(browser, written(desk, f"b{size}.html", *pair)) as visit:
        seen = set()
        for at in np.linspace(0, 1, 7).tolist():
            slide(visit, at)
            seen.add(agrees(desk, visit, "--batch-size", size)["usage"])
        assert {0.0, 1.0} < seen
        assert len(seen) == 7


def test_the_slider_sums_the_costs_of_the_very_requests(tmp_path, browser):
    store, rng = make_cache(tmp_path, n=90), np.random.default_rng(3)
    for split in ("test", "val"):
        labels = load(store, "toy", split).labels
        for m, model in enumerate(MODELS):
            write_request_costs(store, split, model, labels, {"usd": rng.exponential(m + 1, 90)})
    args = ("-m1", "small", "-m2", "large", "-s", "maxp", "--cost", "usd", "--cache", tmp_path)
    report = ("report", "-d", "toy", *args, "-o", tmp_path / "page.html")
    assert cascade(*report).status == 0
    with visiting(browser, tmp_path / "page.html") as visit:
        for at in np.linspace(0, 1, 5).tolist():
            slide(visit, at)
            limit = visit.page.get_attribute("#lambda", "data-value")
            check = ["-p"] if visit.page.is_checked("#pick-post") else []
            base = visit.text("#figures div:has(data[data-name=saved]) dt").split()[-1]
            asked = ("-t", limit, *check, "--baseline", base, "--json")
            found, shown = (
                cascade("simulate", "--dataset", "toy", *args, *asked).json,
                visit.figures(),
            )
            for name in (f"{each}{end}" for each in ("cost", "saved") for end in ("", "_low")):
                assert shown[name] == pytest.approx(found[name]), name
            assert "usd" in visit.text("#figures")


def test_the_slider_answers_to_the_keyboard(desk, visit):
    visit.page.focus("#slider")
    before = visit.figures()["usage"]
    visit.page.keyboard.press("End")
    assert visit.figures()["usage"] == 1.0
    visit.page.keyboard.press("Home")
    assert visit.figures()["usage"] == 0.0
    visit.page.keyboard.press("ArrowRight")
    assert 0 < visit.figures()["usage"] < before
    assert "accuracy" in visit.page.get_attribute("#slider", "aria-valuetext")
    agrees(desk, visit)


@pytest.mark.parametrize("kind", ["best", "1se"])
def test_the_named_thresholds_are_those_of_threshold(desk, visit, kind):
    visit.page.click(f"[data-jump='{kind}']")
    post = visit.page.is_checked("#pick-post")
    rows = told(desk, "threshold", "-m1", PAIR[0], "-m2", PAIR[1], "-s", "maxp")["rows"]
    [row] = [row for row in rows if (row["objective"], row["postcheck"]) == (kind, post)]
    assert float(visit.page.get_attribute("#lambda", "data-value")) == row["threshold"]
    assert visit.figures()["accuracy"] == row["accuracy"]
    assert re.search(
        rf"On val, where it was chosen, {row['fit_accuracy']:.2%} \([^)]*{kind}",
        visit.text("#cascade-note"),
    )
    assert visit.page.get_attribute(f"[data-jump='{kind}']", "aria-pressed") == "true"
    agrees(desk, visit)


def test_the_promise_is_no_looser_than_asked(desk, browser):
    """ε and 1 − δ with all their digits, whether or not a λ is certified."""
    for certify, told in (("0.2125,0.07", ("21.25%", "0.93 ")), ("0.0125,0.07", ("1.25%",))):
        file = written(desk, "c.html", "-m1", PAIR[0], "-m2", PAIR[1], "--certify", certify)
        with visiting(browser, file) as visit:
            if visit.page.query_selector("[data-jump='certified']"):
                visit.page.click("[data-jump='certified']")
                chip = visit.text("[data-jump='certified']").replace("\xa0", " ")
                assert chip == f"certified: loses at most {told[0][:-1]} %, risk 7 %"
            note = visit.text("#cascade-note")
        assert "certified" in note
        assert [text in note for text in told] == [True] * len(told), note


def test_the_picker_shows_another_cascade(desk, visit):
    visit.page.select_option("#pick-a", label="digits_wide")
    visit.page.select_option("#pick-score", label="difference")
    visit.page.set_checked("#pick-post", not visit.page.is_checked("#pick-post"))
    found = agrees(desk, visit)
    assert (found["model_1"], found["score"]) == ("digits_wide", "difference")
    visit.page.select_option("#pick-b", label="digits_wide")
    found = agrees(desk, visit)  # A and B change places rather than be the same
    assert (found["model_1"], found["model_2"]) == (PAIR[1], "digits_wide")


def tiles(visit):
    """The key figures as they stand: (label, [value, low, high])."""
    return visit.page.eval_on_selector_all(
        "header .tiles div",
        """all => all.map((e) => [e.querySelector("dt").innerText,
            [...e.querySelectorAll("data")].map((d) => Number(d.value))])""",
    )


def expected_tiles(answer, folds=""):
    """By what they are of: a saving below 0 is told as more."""
    against = answer["matched"] or answer["baseline"]
    labels = {
        "accuracy": f"accuracy{folds}",
        "accuracy_change": f"accuracy against {against}{folds}",
        "usage": "use of B",
        "cost": "ms per request",
        "saved": f"cheaper than {answer['baseline']}",
    }
    ends = ("", "_low", "_high")
    if answer["saved"] < 0:
        labels["saved"] = f"costs more than {answer['baseline']}"
    found = [[labels[name], [answer[f"{name}{end}"] for end in ends]] for name in labels]
    if answer["saved"] < 0:
        found[-1][1][1:] = found[-1][1][:0:-1]
    return [[label.replace("ms", "latency"), values] for label, values in found]


def sentences_shown(visit, found):
    verdict, *more = found["sentences"]
    assert visit.text(".verdict") == with_minus(verdict)
    assert visit.text(".summary") == with_minus(" ".join(more))


def test_the_key_figures_are_the_searchs_answer(desk, visit):
    found = told(desk, "search")
    sentences_shown(visit, found)
    assert tiles(visit) == expected_tiles(found["answer"])
    said = visit.text("#basis")
    assert said.startswith("Chosen on val, shown on test (500 images).")
    assert ("selected" in said) == found["answer"]["selected"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((), "the cheapest within 1 point of digits_residual, the best single model"),
        (("--match", "digits_plain"), "the cheapest within 1 point of digits_plain"),
        (
            ("--match", "digits_plain", "--within", "0.025", "--confidence", "0.9"),
            "the cheapest within 2.5 points of digits_plain, 90% sure",
        ),
        (("--min-accuracy", "0.97"), "the cheapest that is right on at least 97%"),
        (("--max-cost", "0.4ms"), "the most accurate for at most 0.4 ms a request"),
        (("--best-accuracy",), "the most accurate"),
    ],
)
def test_the_page_answers_what_search_answers_to_the_same_question(desk, browser, asked, words):
    found = told(desk, "search", *asked)
    answer = found["answer"]
    with visiting(browser, written(desk, "asked.html", *asked)) as visit:
        assert visit.text("#asked") == f"Asked for: {words}."
        sentences_shown(visit, found)
        assert tiles(visit) == expected_tiles(answer)
        shown = agrees(desk, visit)
    names = ("model_1", "model_2", "score", "postcheck", "threshold", "accuracy", "usage")
    assert {name: shown[name] for name in names} == {name: answer[name] for name in names}


def test_one_split_shows_what_folds_say_and_says_so(alone, browser):
    """Accuracy and change are cross-fitted; the slider shows each λ on the images that fitted it,
    and says that."""
    asked = ("--max-cost", "0.6ms")
    answer = told(alone, "search", *asked)["answer"]
    rows = told(alone, "threshold", "-m1", answer["model_1"], "-m2", answer["model_2"])["rows"]
    with visiting(browser, written(alone, "folds.html", *asked)) as visit:
        assert tiles(visit) == expected_tiles(answer, ", cross-fitted")
        assert "Accuracy is cross-fitted on the 500 images of test" in visit.text("#basis")
        said = visit.text("#front-text")
        assert said.startswith("Chosen on test, drawn at cross-fitted accuracy.")
        assert middle_of(visit, "answer") == pytest.approx(middle_of(visit, "picked"), abs=0.2)
        note = f"Cross-fitted: {answer['accuracy']:.2%} (answer"
        assert note in visit.text("#cascade-note")
        assert "accuracy on these images" in visit.text("#figures")
        assert visit.figures()["accuracy"] != answer["accuracy"]
        assert "on the images that fitted it, which flatters" in visit.text("#curve-caption")
        shown = agrees(alone, visit)
        assert shown["usage"] == answer["usage"]
        for kind in ("best", "1se"):
            visit.page.click(f"[data-jump='{kind}']")
            keys = {"objective": kind, "score": answer["score"], "postcheck": answer["postcheck"]}
            [row] = [r for r in rows if all(r[key] == value for key, value in keys.items())]
            assert f"{row['accuracy']:.2%} ({kind}" in visit.text("#cascade-note")
        low, high = flag_heights(visit, "answer")
        assert low > high + 1  # below the line, by what choosing flatters


def middle_of(visit, ring):
    """Where a ring stands among the points."""
    box = visit.page.locator(f"#front path.ring.{ring}").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def flag_heights(visit, kind):
    """Where a named λ stands, and the line at the same place, in pixels from the top."""
    visit.page.click(f"[data-jump='{kind}']")
    return tuple(
        float(visit.page.get_attribute(f"#curve circle.{name}", "cy"))
        for name in (f"flag.{kind}", "now")
    )


def test_an_answer_that_one_split_tests_is_shown_on_the_part_that_tests(alone, browser):
    found = told(alone, "search")
    assert (found["fit_n"], found["n"]) == (150, 350)
    with visiting(browser, written(alone, "part.html")) as visit:
        sentences_shown(visit, found)
        assert tiles(visit) == expected_tiles(found["answer"])
        assert visit.text("#basis").startswith("Chosen on 150 images of test, shown on 350 others")
        said = visit.text("#front-text")
        assert said.startswith("Chosen on 150 images of test, drawn on 350 others of test.")
        answer, shown = found["answer"], visit.figures()
        for name in ("accuracy", "usage", "cost", "saved", "accuracy_change"):
            for end in ("", "_low", "_high"):
                key = f"{name}{end}"
                assert shown[key] == pytest.approx(answer[key], rel=1e-12, abs=1e-12)


COSTS = (0.00052, 0.0999, 1.0, 7.25, 431, 999.96, 8832, 105698, 1234567.8, 4.1e9, 2.5e12)


@pytest.mark.parametrize(("kind", "unit"), [("macs", "multiply-adds"), ("latency", "ms")])
def test_costs_are_told_as_the_terminal_tells_them(desk, browser, page, kind, unit):
    file = page if kind == "latency" else written(desk, "macs.html", "--cost", "macs")
    with visiting(browser, file) as visit:
        script = """async (values) => {
            const {facts} = await unpack($("data").textContent);
            return values.map(([value, other]) => costTexts(facts.cost, value, other));
        }"""
        pairs = [(value, 0.87 * value) for value in COSTS]
        shown = visit.page.evaluate(script, [list(pair) for pair in pairs])
        assert "multiply-adds" in visit.text("main")
    suffix = " ms" if kind == "latency" else ""
    expected = [[f"{text}{suffix}" for text in figures(unit, *pair)] for pair in pairs]
    assert shown == expected


@pytest.mark.parametrize("won", [0, 1, 7, 20])
@pytest.mark.parametrize("lost", [0, 2, 9, 40])
def test_differences_have_the_limits_of_the_few_and_of_the_many(visit, won, lost):
    script = """async ([won, lost]) => {
        const found = new Cascades(await unpack($("data").textContent)).change(won, lost);
        return [found.value, found.low, found.high];
    }"""
    found = visit.page.evaluate(script, [won, lost])
    assert found == pytest.approx(naive.paired_change(won, lost, 500), rel=1e-9, abs=1e-12)


def test_a_pair_asked_for_opens_at_the_threshold_that_is_printed(desk, browser):
    """Its best λ, also where the search answers with another λ of the same cascade."""
    answer = told(desk, "search", "--min-accuracy", "0.97")["answer"]
    pair = ("-m1", answer["model_1"], "-m2", answer["model_2"], "-s", answer["score"])
    asked = (*pair, "--min-accuracy", "0.97")
    facts = told(desk, "report", *asked, "-o", desk[0] / "pair.html")
    assert facts["postcheck"] == answer["postcheck"]
    assert facts["threshold"] != answer["threshold"]
    with visiting(browser, desk[0] / "pair.html") as visit:
        assert float(visit.page.get_attribute("#lambda", "data-value")) == facts["threshold"]
        shown = visit.figures()
    assert [shown[name] for name in ("accuracy", "cost")] == [facts["accuracy"], facts["cost"]]


def overlapping(visit, selector):
    """How many of the elements there are, and whether any two overlap or leave the chart."""
    boxes = visit.page.eval_on_selector_all(
        selector,
        """all => all.map((e) => {
            const text = e.getBoundingClientRect();
            const chart = e.ownerSVGElement.getBoundingClientRect();
            return [text.left, text.right, text.top, text.bottom,
                    text.left < chart.left || text.right > chart.right];
        })""",
    )
    apart = all(
        p[1] < q[0] or q[1] < p[0] or p[3] - 3 < q[2] or q[3] - 3 < p[2]
        for i, p in enumerate(boxes)
        for q in boxes[:i]
    )
    return len(boxes), not apart or any(box[4] for box in boxes)


@pytest.mark.parametrize("width", [360, 400, 1280])
def test_ticks_and_labels_stand_apart(desk, browser, page, width):
    for file in (page, written(desk, "macs.html", "--cost", "macs")):
        with visiting(browser, file, width=width) as visit:
            count, bad = overlapping(visit, "#front .tick[text-anchor=middle]")
            assert count >= 3
            assert not bad
            labels = visit.page.query_selector_all("#curve .label")
            assert labels
            assert not overlapping(visit, "#curve .label")[1]
            places = [label.get_attribute("x") for label in labels]
            assert len(set(places)) == len(places)  # one label for one λ


@pytest.mark.parametrize("span", [(0.2311, 0.9176), (0.83, 0.836), (4, 21), (0.3, 2.6), (1, 1e6)])
def test_a_logarithmic_axis_has_round_ticks_inside(visit, span):
    low, high = np.log10(span).tolist()
    found = 10 ** np.array(visit.page.evaluate("([low, high]) => decades(low, high)", [low, high]))
    assert len(found) >= 3
    assert span[0] * 0.999 < found[0] < found[-1] < span[1] * 1.001
    for value in found.tolist():
        assert float(f"{value:.3g}") == pytest.approx(value, rel=1e-12)


def test_its_words_are_explained(visit):
    assert visit.text("#intervals summary") == "Small numbers are 95 % intervals"
    visit.page.click("#intervals summary")
    assert "Wilson" in visit.text("#intervals")
    visit.page.click("#words summary")
    said = visit.text("#words dl")
    there = [word in said for word in ("λ", "1se", "post-check", "oracle", "certified")]
    assert there == [True] * len(there)


def test_imported_models_get_no_advice_that_cannot_work(browser, tmp_path):
    rng = np.random.default_rng(0)
    root = ("--cache", tmp_path / "cache")
    for split in ("val", "test"):
        labels = rng.integers(0, 3, 80)
        np.save(tmp_path / "labels.npy", labels)
        for model in ("small", "large"):
            np.save(tmp_path / "logits.npy", rng.standard_normal((80, 3)) + 2 * np.eye(3)[labels])
            args = ("-d", "mine", "--split", split, "--model", model, "--macs", "1M", *root)
            files = ("--logits", tmp_path / "logits.npy", "--labels", tmp_path / "labels.npy")
            assert cascade("import", *args, *files).status == 0
    assert cascade("report", "-d", "mine", *root, "-o", tmp_path / "p.html").status == 0
    with visiting(browser, tmp_path / "p.html") as visit:
        visit.page.wait_for_selector("#h-saved data")
        said = visit.text("#explorer")
    found = [advice in said for advice in ("--data", "cascade hash", "makes one")]
    assert found == [False] * len(found)


def with_minus(text):
    return re.sub(r"(^|[ (])-(\d)", r"\1−\2", text)


def test_there_is_one_minus_sign(desk, visit):
    assert min(row["accuracy_change"] for row in told(desk, "search")["baselines"]) < 0
    visit.page.select_option("#metric", "kappa")
    for where in ("header", "main"):
        text = visit.text(where)
        assert "−" in text
        assert not re.search(r"(?m)(^|[\s(])-\d", text)


def test_the_frontier_says_on_which_images_it_was_chosen(visit):
    said = visit.text("#front-text")
    assert said.startswith("Chosen on val, drawn on test. Click a point to open it.")
    title = visit.page.text_content("#front svg text.title")
    assert title == "ms per request on nano, batch size 1 (log scale)"


def test_the_answer_can_be_opened_from_the_frontier(desk, visit):
    found = told(desk, "search")["answer"]
    middle = middle_of(visit, "answer")
    visit.page.mouse.move(*middle)
    tip = visit.text("#tip")
    assert "(the answer)" in tip
    assert found["model_1"] in tip
    assert f"{found['accuracy']:.2%}" in tip
    visit.page.mouse.click(*middle)
    shown = agrees(desk, visit)
    names = ("model_1", "model_2", "score", "postcheck", "threshold", "accuracy", "usage")
    assert {name: shown[name] for name in names} == {name: found[name] for name in names}
    assert visit.figures()["cost"] == pytest.approx(found["cost"], rel=1e-12)


def test_the_frontier_is_walked_by_keys(desk, visit):
    frontier = told(desk, "search")["frontier"]
    visit.page.focus("#front")
    visit.page.keyboard.press("ArrowLeft")
    last = visit.text("#front-status")
    visit.page.keyboard.press("ArrowLeft")
    assert visit.text("#front-status") != last
    costs_of = [row["cost"] for row in frontier]
    assert max(costs_of) > min(costs_of)
    for _ in range(60):
        if "frontier" in visit.text("#front-status"):
            break
        visit.page.keyboard.press("ArrowLeft")
    said = visit.text("#front-status")
    visit.page.keyboard.press("Enter")
    shown = agrees(desk, visit)
    assert said.startswith(f"{shown['model_1']} → {shown['model_2']}, {shown['score']}")
    assert f"{shown['accuracy']:.2%}" in said
    known = {(row["model_1"], row["model_2"], row["threshold"]) for row in frontier}
    assert (shown["model_1"], shown["model_2"], shown["threshold"]) in known


def test_the_matrix_is_that_of_heterogeneity_and_opens_pairs(desk, visit):
    for metric in ("heterogeneity", "kappa"):
        visit.page.select_option("#metric", metric)
        found = told(desk, "heterogeneity", "--metric", metric)
        cells = visit.page.eval_on_selector_all(
            "#matrix td[data-a]",
            "all => all.map((e) => [e.ariaLabel.split(': ')[0], Number(e.dataset.value)])",
        )
        expected = {
            f"{a} to {b}": found["matrix"][i][j]
            for i, a in enumerate(found["models"])
            for j, b in enumerate(found["models"])
            if i != j
        }
        assert dict(cells) == expected
    visit.page.click("#matrix td[aria-label^='digits_wide to digits_plain']")
    found = agrees(desk, visit)
    assert (found["model_1"], found["model_2"]) == ("digits_wide", "digits_plain")
    visit.page.keyboard.press("ArrowRight")
    focused = visit.page.evaluate("document.activeElement.ariaLabel.split(': ')[0].split(' to ')")
    assert focused[0] == "digits_wide"
    assert focused[1] != "digits_plain"
    visit.page.keyboard.press("Enter")
    found = agrees(desk, visit)
    assert [found["model_1"], found["model_2"]] == focused


def test_classes_and_images_follow_the_cascade(desk, visit):
    visit.page.click("[data-jump='best']")
    found = simulated(desk, visit)
    visit.page.wait_for_function("document.querySelectorAll('#classes tbody tr').length === 10")
    rows = visit.page.eval_on_selector_all(
        "#classes tbody tr",
        "all => all.map((r) => [...r.querySelectorAll('data')].map((e) => Number(e.value)))",
    )
    sizes = [row[0] for row in rows]
    mean = [np.dot(sizes, [row[i] for row in rows]) / sum(sizes) for i in range(1, 5)]
    names = ("accuracy_1", "accuracy_2", "accuracy", "usage")
    assert mean == pytest.approx([found[name] for name in names])
    shares = [row[4] for row in rows]
    assert shares == sorted(shares, reverse=True)
    saved, lost = (visit.number(f"#h-{kind} data") for kind in ("saved", "lost"))
    assert saved - lost == round((found["accuracy"] - found["accuracy_1"]) * found["n"])
    assert len(visit.page.query_selector_all("#saved li")) == min(saved, 12)
    assert not visit.page.query_selector_all("#saved img")


def test_the_memorys_break_even_is_that_of_simulate(desk, visit):
    slide(visit, 0.6)
    found = simulated(desk, visit, "--memory", "dhash")
    visit.page.wait_for_selector("#memory data")
    assert visit.number("#memory data") == pytest.approx(found["break_even_rate"], rel=1e-12)


def test_the_live_run_is_shown(desk, visit):
    ran = desk[2]
    row = visit.text("#live tbody tr")
    assert f"{PAIR[0]} → {PAIR[1]}" in row
    shown = visit.page.eval_on_selector_all(
        "#live tbody data", "all => all.map((e) => [e.dataset.name, Number(e.value)])"
    )
    values = dict(shown)
    assert (values["n"], values["accuracy"]) == (40, ran["accuracy"])
    assert values["latency"] == ran["latency_ms_per_request"]


# As wide as rows come: all figures known, long names.
WIDE_RUN = {
    "model_1": "efficientnet_lite4_of_a_long_name",
    "model_2": "mobilenetv2_x0_5_of_a_long_name",
    "score": "maxp",
    "threshold": 0.87654321,
    "mode": None,
    "postcheck": True,
    "memory": None,
    "device": "Intel(R) Xeon(R) Platinum 8480+, 224 threads",
    "precision": "fp32",
    "batch_size": 256,
    "n": 50000,
    "accuracy": 0.98765,
    "usage": 0.5,
    "latency_ms": 1234.5,
    "predicted_latency_ms": 2345.6,
    "energy_j": 1.2345,
    "predicted_energy_j": 0.6789,
    "made": "2026-01-02T03:04",
}


@pytest.mark.parametrize(("width", "whole"), [(360, False), (1000, True), (1400, True)])
def test_live_runs_fit_or_scroll_visibly(browser, page, width, whole):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with visiting(browser, page, width=width) as visit:
        visit.page.evaluate(
            """async (run) => {
                const data = await unpack($("data").textContent);
                const unknown = {...run, energy_j: null, predicted_energy_j: null};
                data.facts.live = [...data.facts.live, unknown, run];
                new Details(new Cascades(data));
            }""",
            WIDE_RUN,
        )
        gaps = visit.page.eval_on_selector_all(
            "#live tbody tr:last-child data", "all => all.map((e) => [e.dataset.name, e.innerText])"
        )
        assert dict(gaps) | {"latency_gap": "−47.4%", "energy_gap": "+81.8%"} == dict(gaps)
        lines = visit.page.evaluate(
            """() => [...document.querySelectorAll("#live td.number span")]
                .map((e) => [...e.childNodes].find((n) => n.data === "unknown"))
                .filter((text) => text)
                .map((text) => {
                    const range = document.createRange();
                    range.selectNode(text);
                    return range.getClientRects().length;
                })"""
        )
        assert set(lines) == {1}
        wide = "document.querySelector('#live-scroll').scrollWidth"
        fits = visit.page.evaluate(f"{wide} <= document.querySelector('#live-scroll').clientWidth")
        assert fits or not whole
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shadow = "getComputedStyle(document.querySelector('#live-scroll')).backgroundAttachment"
        assert visit.page.evaluate(shadow) == "local, local, scroll, scroll"
        found = axe.Axe().run(visit.page)
        assert found.violations_count == 0, found.generate_report()


def test_the_theme_follows_the_system_and_the_button(browser, page):
    def paper(visit):
        color = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return "light" if color == "rgb(255, 255, 255)" else "dark"

    for scheme, other in (("light", "dark"), ("dark", "light")):
        with visiting(browser, page, scheme=scheme) as visit:
            assert paper(visit) == scheme
            assert visit.text("#theme").lower() == other
            visit.page.click("#theme")
            assert paper(visit) == other
            visit.page.click("#theme")
            assert paper(visit) == scheme


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits(browser, page, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with visiting(browser, page, width=width, scheme=scheme) as visit:
        found = axe.Axe().run(visit.page)
        assert found.violations_count == 0, found.generate_report()
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("asked", [(), ("--max-cost", "0.6ms"), ("--match", "digits_wide")])
def test_pages_of_one_split_are_accessible_and_fit(alone, browser, asked):
    """A part of it held out, folds of it, and one model alone as the answer."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    file = written(alone, "one.html", *asked)
    for width, scheme in ((360, "dark"), (1100, "light")):
        with visiting(browser, file, width=width, scheme=scheme) as visit:
            found = axe.Axe().run(visit.page)
            assert found.violations_count == 0, found.generate_report()
            assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_are_text(browser, tmp_path):
    from helpers import make_cache

    names = ("<img src=x onerror=alert(1)>", "`code` & </script>", "plain")
    store = make_cache(tmp_path / "cache", models=names)
    args = ("report", "-d", "toy", "--cache", store.root, "-o", tmp_path / "p.html")
    assert cascade(*args).status == 0
    with visiting(browser, tmp_path / "p.html") as visit:
        options = visit.page.eval_on_selector_all("#pick-a option", "all => all.map((e) => e.text)")
        assert sorted(options) == sorted(names)
        assert not visit.page.query_selector_all("img")


def test_many_classes_are_laid_out_when_asked_for(browser, tmp_path):
    from helpers import make_cache

    store = make_cache(tmp_path / "cache", classes=70, n=500)
    args = ("report", "-d", "toy", "--cache", store.root, "-o", tmp_path / "p.html")
    assert cascade(*args).status == 0
    with visiting(browser, tmp_path / "p.html") as visit:
        visit.page.wait_for_selector("#classes tbody tr")
        assert len(visit.page.query_selector_all("#classes tbody tr")) == 50
        visit.page.click("text=All 70 classes")
        assert len(visit.page.query_selector_all("#classes tbody tr")) == 70
        assert visit.page.is_hidden("#all-classes")


def test_a_request_to_a_host_would_be_seen(browser, tmp_path):
    page = tmp_path / "p.html"
    page.write_text('<html data-ready><img src="http://localhost:1/x.png" alt="">')
    with pytest.raises(AssertionError), visiting(browser, page):
        pass
