"""A cascade as one ONNX file: the answers of the rule, and which models run for them."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running import DIGITS, IMAGES, WEIGHTS, needs_shared
from scipy.special import expit, logsumexp, softmax

from cache import InputError
from stages.cascade import ALWAYS, NEVER, Cascade, Limit, run_stages
from stages.datasets import open_split
from stages.models import Target, choose, for_engine, load
from stages.policy import OnnxStage, onnx_files
from stages.policy.onnx_folder import answered_by, triton_config
from stages.policy.onnx_graph import cascade_graph, inputs
from stages.runtimes import Preprocessing, open_device, runner_of
from stages.scores import named, scores_of

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402
from onnx_files import ABOUT, flatten_and_multiply, value, weights, written  # noqa: E402

from stages.runtimes.onnx_session import session  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SCORES = ("maxp", "difference", "entropy")
CHAIN = ("digits_wide", "digits_separable", "digits_residual")


def write_onnx(folder, stages, cascade, about):
    """The paths of the files."""
    made = {Path(folder, place): data for place, data in onnx_files(stages, cascade, about).items()}
    for path, data in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return list(map(str, made))


def stage_of(one):
    return OnnxStage(one.name, load(one.spec, one.weights), one.spec.preprocessing)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The digits' stages by name, and the test split's pixels."""
    target = Target("onnxruntime", size=(8, 8), folder=tmp_path_factory.mktemp("onnx"))
    chosen = [for_engine(one, target) for one in choose("digits", DIGITS)]
    source, seen = open_split("digits", "test"), chosen[0].spec.preprocessing
    pixels = np.stack([seen.pixels(source.read(i)) for i in range(len(source))])
    return {one.name: stage_of(one) for one in chosen}, pixels


def scored(stage, pixels, batch=64):
    """Answers and scores of the model alone, by its own session."""
    device = open_device("cpu", engine="onnxruntime")
    runner = runner_of(stage.model, stage.preprocessing, device)
    parts = [
        scores_of(runner.logits(runner.upload(pixels[at : at + batch])))
        for at in range(0, len(pixels), batch)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def by_the_rule(cascade, found):
    """What the rule makes of the models' own answers: prediction, answered, score, escalated."""
    score = named(cascade.score)
    rules = [(score, limit) for limit in cascade.limits]
    n = len(found[0]["prediction"])
    stage, answered, prediction = run_stages(
        n,
        lambda j, going: (found[j]["prediction"], *[found[j][score.name]] * 2),
        rules,
        cascade.postcheck,
    )
    own = np.choose(answered, [each[score.name] for each in found])
    return {"prediction": prediction, "answered": answered, "score": own, "escalated": stage > 0}


def in_batches(file, pixels, batch):
    opened = session(file, 1)
    parts = [
        answered_by(opened, {"pixels": pixels[at : at + batch]})
        for at in range(0, len(pixels), batch)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def middle(scores, share):
    """A λ between two scores, at this share of them."""
    ordered = np.unique(scores)
    at = int(share * (len(ordered) - 1))
    return float((ordered[at] + ordered[at + 1]) / 2)


def agrees(found, expected):
    for name in ("prediction", "answered", "escalated"):
        np.testing.assert_array_equal(found[name], expected[name], name)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("postcheck", [False, True])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("names", [CHAIN[::2], CHAIN], ids=["pair", "chain"])
def test_it_answers_as_the_rule_does(names, score, postcheck, digits, tmp_path):
    stages, pixels = [digits[0][name] for name in names], digits[1]
    found = [scored(stage, pixels) for stage in stages]
    limits = [middle(found[j][score], 0.5) for j in range(len(names) - 1)]
    cascade = Cascade.of(names, score, *limits, postcheck=postcheck)
    file, *_ = write_onnx(tmp_path, stages, cascade, {})
    expected = by_the_rule(cascade, found)
    assert len(set(expected["answered"].tolist())) == len(names)
    for batch in (1, 16, 64, len(pixels)):
        agrees(in_batches(file, pixels, batch), expected)


@pytest.mark.parametrize("postcheck", [False, True])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("names", [CHAIN[:1], CHAIN[::2]], ids=["one", "two"])
def test_what_the_last_model_is_unsure_of_is_nobodys(names, score, postcheck, digits, tmp_path):
    if postcheck and len(names) == 1:
        pytest.skip("one model alone is surer than no other")
    stages, pixels = [digits[0][name] for name in names], digits[1]
    found = [scored(stage, pixels) for stage in stages]
    limits = [middle(found[j][score], 0.5) for j in range(len(names))]
    cascade = Cascade.of((*names, "human"), score, *limits, postcheck=postcheck)
    file, *_ = write_onnx(tmp_path, stages, cascade, {})
    sign = -1 if score == "entropy" else 1
    wanted = {"prediction": [], "answered": [], "score": [], "escalated": []}
    for i in range(len(pixels)):
        sure, best, j = [sign * each[score][i] for each in found], 0, 0
        while j < len(names) and sure[j] < sign * limits[j]:
            j += 1
            if j < len(names) and (not postcheck or sure[j] > sure[best]):
                best = j
        left = j == len(names)
        wanted["prediction"].append(-1 if left else found[best]["prediction"][i])
        wanted["answered"].append(j if left else best)
        wanted["score"].append(np.nan if left else found[best][score][i])
        wanted["escalated"].append(j > 0)
    assert 0 < wanted["prediction"].count(-1) < len(pixels)
    for batch in (1, 64, len(pixels)):
        agrees(in_batches(file, pixels, batch), wanted)


def logits_by(stage, pixels):
    device = open_device("cpu", engine="onnxruntime")
    runner = runner_of(stage.model, stage.preprocessing, device)
    return runner.logits(runner.upload(pixels)).astype(np.float64)


def mean_of(z_a, z_b, limit):
    """(escalated, prediction, distance from a decision) of a pair by maxp that the mean answers."""
    p, q = softmax(z_a, axis=1), softmax(z_b, axis=1)
    sent, two = p.max(axis=1) < limit, np.sort(p + q, axis=1)[:, -2:]
    answer = np.where(sent, (p + q).argmax(axis=1), p.argmax(axis=1))
    tie = np.where(sent, two[:, 1] - two[:, 0], np.inf)
    return sent, answer, np.minimum(abs(p.max(axis=1) - limit), tie)


@pytest.mark.parametrize("batch", [1, 64, 500])
def test_the_mean_of_both(batch, digits, tmp_path):
    """With and without temperatures, by another softmax."""
    names, stages = CHAIN[::2], [digits[0][name] for name in CHAIN[::2]]
    a, b = (logits_by(stage, digits[1]) for stage in stages)
    for t in ({}, dict(zip(names, (0.7, 2.5), strict=True))):
        fitted = {name: {"temperature": each} for name, each in t.items()}
        score = "temperature(maxp)" if t else "maxp"
        made = Cascade.of(names, score, 0.9, ensemble=True, coefficients=fitted)
        file, *_ = write_onnx(tmp_path / str(len(t)), stages, made, {})
        found = in_batches(file, digits[1], batch)
        sent, answer, _ = mean_of(a / t.get(names[0], 1), b / t.get(names[1], 1), 0.9)
        assert 0 < sent.sum() < len(sent)
        np.testing.assert_array_equal(found["escalated"], sent)
        np.testing.assert_array_equal(found["prediction"], answer)


def margin(z):
    return np.sort(z, axis=1)[:, -1] - np.sort(z, axis=1)[:, -2]


def test_two_that_vote_and_one_that_answers(digits, tmp_path):
    stages = [digits[0][name] for name in CHAIN]
    made = Cascade.committee(CHAIN[:2], CHAIN[2], Limit("at", 1.0))
    file, *_ = write_onnx(tmp_path, stages, made, {})
    a, b, c = (logits_by(stage, digits[1]).argmax(axis=1) for stage in stages)
    found = in_batches(file, digits[1], 64)
    np.testing.assert_array_equal(found["escalated"], a != b)
    np.testing.assert_array_equal(found["prediction"], np.where(a == b, a, c))
    np.testing.assert_array_equal(found["score"][a == b], 1.0)


PLATT = {"slope": 4.0, "intercept": -0.5}


@pytest.mark.parametrize(
    ("score", "of", "fitted"),
    [
        ("logits(margin)", margin, {}),
        ("logits(energy)", lambda z: logsumexp(z, axis=1), {}),
        ("platt(maxp)", lambda z: expit(4 * softmax(z, axis=1).max(axis=1) - 0.5), PLATT),
    ],
)
def test_fitted_scores(score, of, fitted, digits, tmp_path):
    names, stages = CHAIN[::2], [digits[0][name] for name in CHAIN[::2]]
    a, b = (logits_by(stage, digits[1]) for stage in stages)
    limit = middle(of(a), 0.4)
    known = dict.fromkeys(names, fitted)
    made = Cascade.of(names, score, limit, postcheck=True, coefficients=known)
    file, *_ = write_onnx(tmp_path, stages, made, {})
    found, sent = in_batches(file, digits[1], 64), of(a) < limit
    answer = np.where(sent & (of(b) > of(a)), b.argmax(axis=1), a.argmax(axis=1))
    np.testing.assert_array_equal(found["escalated"], sent)
    np.testing.assert_array_equal(found["prediction"], answer)


def test_a_model_alone(digits, tmp_path):
    stage = digits[0][CHAIN[0]]
    file, *_ = write_onnx(tmp_path, [stage], Cascade.of(CHAIN[:1]), {})
    found = in_batches(file, digits[1], 64)
    expected = scored(stage, digits[1])
    np.testing.assert_array_equal(found["prediction"], expected["prediction"])
    np.testing.assert_allclose(found["score"], expected["maxp"], atol=1e-6)
    assert not found["escalated"].any()


@pytest.mark.parametrize(("limit", "share"), [(ALWAYS, 1.0), (NEVER, 0.0)])
@pytest.mark.parametrize("score", SCORES)
def test_always_and_never(limit, share, score, digits, tmp_path):
    stages, pixels = [digits[0][name] for name in CHAIN[:2]], digits[1][:50]
    cascade = Cascade.of(CHAIN[:2], score, limit)
    file, *_ = write_onnx(tmp_path, stages, cascade, {})
    found = in_batches(file, pixels, 16)
    assert found["escalated"].mean() == share
    agrees(found, by_the_rule(cascade, [scored(stage, pixels) for stage in stages]))


def test_no_rows_and_types(digits, tmp_path):
    cascade = Cascade.of(CHAIN, "maxp", 0.9, 0.9)
    file, *_ = write_onnx(tmp_path, [digits[0][name] for name in CHAIN], cascade, {"a": "b"})
    found = answered_by(session(file, 1), {"pixels": digits[1][:0]})
    assert {name: (each.dtype.name, each.shape) for name, each in found.items()} == {
        "prediction": ("int32", (0,)),
        "answered": ("int32", (0,)),
        "score": ("float64", (0,)),
        "escalated": ("bool", (0,)),
    }
    model = onnx.load(file)
    assert {each.key: each.value for each in model.metadata_props} == {"a": "b"}
    assert [each.version for each in model.opset_import if not each.domain] == [18]


def ran(file, feed, folder):
    """How often each kind of kernel ran, by the branch that its name says, by the profile."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    opened = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    opened.run(None, feed)
    with open(opened.end_profiling(), encoding="utf-8") as file:
        events = json.load(file)
    kernels = [each["args"] for each in events if each["name"].endswith("_kernel_time")]
    return Counter(each["op_name"] for each in kernels), kernels


def test_b_runs_only_where_something_is_sent_on(digits, tmp_path):
    stages, pixels = [digits[0][name] for name in CHAIN[::2]], digits[1]
    sure = scored(stages[0], pixels)["maxp"]
    cascade = Cascade.of(CHAIN[::2], "maxp", middle(sure, 0.3))
    file, *_ = write_onnx(tmp_path, stages, cascade, {})
    trusted = pixels[sure >= cascade.limits[0].value][:64]
    sent, _ = ran(file, {"pixels": pixels[:64]}, tmp_path)
    kept, _ = ran(file, {"pixels": trusted}, tmp_path)
    alone = {
        stage.name: ran(
            stage.model.path, {"pixels": stage.preprocessing.normalise_array(pixels[:1])}, tmp_path
        )[0]
        for stage in stages
    }
    convolutions = {name: _convolutions(found) for name, found in alone.items()}
    assert _convolutions(kept) == convolutions[CHAIN[0]]
    # Fused as they are in its own file.
    assert _convolutions(sent) == convolutions[CHAIN[0]] + convolutions[CHAIN[2]]


def _convolutions(kernels):
    return Counter({name: n for name, n in kernels.items() if "Conv" in name or "Gemm" in name})


def other_size(folder):
    """A net on 4 × 4 pixels, in an older opset and with a function of its own."""
    shape = (1, 4, 4)
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Twice", ["flat"], ["two"], domain="local"),
        helper.make_node("MatMul", ["two", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [value("pixels", "batch", *shape)],
        [value("logits", "batch", 10)],
        [weights(shape=(16, 10), seed=9)],
    )
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("local", 1)]
    twice = helper.make_function(
        "local",
        "Twice",
        ["x"],
        ["y"],
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [helper.make_opsetid("", 15)],
    )
    model = helper.make_model(graph, opset_imports=imports, functions=[twice], ir_version=8)
    path = written(folder, model, "small")
    about = ABOUT | {"preprocessing": ABOUT["preprocessing"] | {"resize": [4, 4]}}
    path.with_suffix(".json").write_text(json.dumps(about))
    [one] = choose("digits", [f"onnx:{path}"])
    return stage_of(one)


def test_models_of_other_pictures_have_an_input_each(digits, tmp_path):
    """And files of another opset, with functions, go in."""
    first, second = other_size(tmp_path / "net"), digits[0]["digits_residual"]
    source = open_split("digits", "test")
    pictures = [source.read(i) for i in range(200)]
    pixels = [
        np.stack([stage.preprocessing.pixels(each) for each in pictures])
        for stage in (first, second)
    ]
    found = [scored(stage, each) for stage, each in zip((first, second), pixels, strict=True)]
    cascade = Cascade.of(("small", "digits_residual"), "entropy", middle(found[0]["entropy"], 0.5))
    assert list(inputs((first, second)).values()) == ["pixels_1", "pixels_2"]
    file, *_ = write_onnx(tmp_path, (first, second), cascade, {})
    agrees(
        answered_by(session(file, 1), {"pixels_1": pixels[0], "pixels_2": pixels[1]}),
        by_the_rule(cascade, found),
    )


def odd(folder, name):
    """Nets that are read otherwise than most."""
    branch = helper.make_graph(
        [helper.make_node("Mul", ["flat", "two"], ["out"])], "b", [], [value("out", "batch", 64)]
    )
    both = {"then_branch": branch, "else_branch": branch}
    two = numpy_helper.from_array(np.float32(2), "two")
    yes = numpy_helper.from_array(np.array(True), "yes")
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"], domain="ai.onnx"),
        helper.make_node("If", ["yes"], ["scaled"], **both),
        helper.make_node("MatMul", ["scaled", "weights"], ["logits"]),
    ]
    model = flatten_and_multiply(nodes=nodes, initializer=[weights(), two, yes])
    if name == "infinite":
        huge = numpy_helper.from_array(np.full((64, 10), np.inf, np.float32), "weights")
        model = flatten_and_multiply(initializer=[huge])
    if name == "ai.onnx":
        model.opset_import[0].domain = "ai.onnx"
    [one] = choose("digits", [f"onnx:{written(folder, model, 'odd')}"])
    return stage_of(one)


@pytest.mark.parametrize("name", ["If", "ai.onnx"])
def test_graphs_within_and_other_names(name, digits, tmp_path):
    stages = [odd(tmp_path / "net", name), digits[0]["digits_wide"]]
    source = open_split("digits", "test")
    pixels = np.stack([stages[0].preprocessing.pixels(source.read(i)) for i in range(100)])
    found = [scored(stage, pixels) for stage in stages]
    cascade = Cascade.of(("odd", "digits_wide"), "maxp", middle(found[0]["maxp"], 0.5))
    file, *_ = write_onnx(tmp_path, stages, cascade, {})
    agrees(in_batches(file, pixels, 64), by_the_rule(cascade, found))


def test_logits_that_are_not_finite_are_one_line(digits, tmp_path):
    stages = [digits[0]["digits_wide"], odd(tmp_path, "infinite")]
    with pytest.raises(InputError, match="no finite logits"):
        onnx_files(stages, Cascade.of(("digits_wide", "odd"), "maxp", ALWAYS), {})


def test_without_onnx_it_says_what_to_install(digits, monkeypatch):
    from stages.policy import onnx_folder

    monkeypatch.setattr(onnx_folder, "find_spec", lambda name: None)
    stages = [digits[0][name] for name in CHAIN[:2]]
    with pytest.raises(InputError, match="onnx-export"):
        onnx_files(stages, Cascade.of(CHAIN[:2], "maxp", 0.9), {})


def test_a_quantised_model_goes_in(digits, tmp_path):
    opens = lambda: open_split("digits", "train")  # noqa: E731
    target = Target("onnxruntime", "int8", (8, 8), tmp_path / "onnx", opens)
    [one] = choose("digits", [CHAIN[0]])
    stages, pixels = [stage_of(for_engine(one, target)), digits[0][CHAIN[2]]], digits[1]
    found = [scored(stage, pixels) for stage in stages]
    cascade = Cascade.of(CHAIN[::2], "maxp", middle(found[0]["maxp"], 0.4))
    file, *_ = write_onnx(tmp_path, stages, cascade, {})
    agrees(in_batches(file, pixels, 64), by_the_rule(cascade, found))


def test_what_cannot_go_in_is_named(digits, tmp_path):
    first, second = (digits[0][name] for name in CHAIN[:2])
    cascade = Cascade.of(CHAIN[:2], "maxp", 0.9)
    fixed = OnnxStage("fixed", replace(second.model, smallest=4, largest=4), second.preprocessing)
    with pytest.raises(InputError, match="fixed takes 4 pictures at a time"):
        cascade_graph((first, fixed), cascade, {})
    with pytest.raises(InputError, match="the oracle cannot be deployed"):
        cascade_graph((first, second), Cascade.of(CHAIN[:2], "oracle"), {})
    for score in ("learned(maxp)", "isotonic(maxp)", "platt(logit)"):
        with pytest.raises(InputError, match=f"no ONNX file holds the score {re.escape(score)}"):
            cascade_graph((first, second), Cascade.of(CHAIN[:2], score, 0.5), {})


def test_one_that_answers_otherwise_is_not_written(digits, tmp_path, monkeypatch):
    from stages.policy import onnx_graph

    real = onnx_graph._normalised
    monkeypatch.setattr(
        onnx_graph,
        "_normalised",
        lambda graph, pixels, seen: real(graph, pixels, Preprocessing((0.9,), (0.1,))),
    )
    stages = [digits[0][name] for name in CHAIN[:2]]
    with pytest.raises(InputError, match="answers otherwise than its models do"):
        onnx_files(stages, Cascade.of(CHAIN[:2], "maxp", 0.9), {})


def test_tritons_folder(digits, tmp_path):
    """As the documentation of its model configuration has it: no server is in any registry."""
    stages = [digits[0][name] for name in CHAIN[:2]]
    file, config, model = write_onnx(tmp_path, stages, Cascade.of(CHAIN[:2], "maxp", 0.9), {})
    assert [path.removeprefix(f"{tmp_path}/") for path in (file, config, model)] == [
        "cascade.onnx",
        "triton/cascade/config.pbtxt",
        "triton/cascade/1/model.onnx",
    ]
    assert Path(file).read_bytes() == Path(model).read_bytes()
    text = triton_config(stages)
    assert Path(config).read_text(encoding="utf-8") == text
    assert text.startswith('name: "cascade"\nbackend: "onnxruntime"\nmax_batch_size: 64\n')
    assert 'name: "pixels"\n    data_type: TYPE_UINT8\n    dims: [ 1, 8, 8 ]' in text
    for name, kind in {
        "prediction": "INT32",
        "answered": "INT32",
        "score": "FP64",
        "escalated": "BOOL",
    }.items():
        what = f'name: "{name}"\n    data_type: TYPE_{kind}\n    dims: [ 1 ]\n'
        assert f"{what}    reshape: {{ shape: [ ] }}" in text
    assert text.count("{") == text.count("}")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """Three ResNets as stages, the pixels of 5,000 real images, and torch's scores of them."""
    torch = pytest.importorskip("torch")
    target = Target("onnxruntime", size=(32, 32), folder=tmp_path_factory.mktemp("onnx"))
    chosen = choose("cifar10", ["resnet20", "resnet32", "resnet56"], directory=WEIGHTS)
    source, seen = open_split("cifar10", "test", str(IMAGES)), chosen[0].spec.preprocessing
    pixels = np.stack([seen.pixels(source.read(i)) for i in range(len(source))])
    inputs, found = torch.from_numpy(seen.normalise_array(pixels)), {}
    for one in chosen:
        module = load(one.spec, one.weights).eval()
        with torch.inference_mode():
            logits = torch.cat([module(part) for part in inputs.split(100)])
        found[one.name] = scores_of(logits.numpy()) | {"logits": logits.numpy()}
    return {one.name: stage_of(for_engine(one, target)) for one in chosen}, pixels, found


def image_by_image(models, score, limits, postcheck):
    """(prediction, escalated, distance from a decision) of each image, by a plain loop."""
    sign, rows = {"entropy": -1}.get(score, 1), []
    for i in range(len(models[0]["prediction"])):
        sure, answer = models[0][score][i], models[0]["prediction"][i]
        own, escalated, near = sure, False, []
        for model, limit in zip(models[1:], limits, strict=True):
            near.append(abs(own - limit))
            if sign * own >= sign * limit:
                break
            escalated, own = True, model[score][i]
            if postcheck:
                near.append(abs(own - sure))
            if not postcheck or sign * own > sign * sure:
                sure, answer = own, model["prediction"][i]
        rows.append((answer, escalated, min(near)))
    return tuple(map(np.array, zip(*rows, strict=True)))


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("names", "postcheck", "batches"),
    [
        (("resnet20", "resnet56"), False, (1, 16, 64)),
        (("resnet20", "resnet56"), True, (64,)),
        (("resnet20", "resnet32", "resnet56"), False, (64,)),
        (("resnet20", "resnet32", "resnet56"), True, (64,)),
    ],
    ids=["pair", "pair-p", "chain", "chain-p"],
)
def test_five_thousand_real_images(names, postcheck, batches, score, cifar, tmp_path):
    """Against torch's logits: what is decided otherwise lies within float noise of λ."""
    stages, pixels, scores = cifar
    models = [scores[name] for name in names]
    share = 0.75 if score == "entropy" else 0.25
    limits = [middle(model[score], share) for model in models[:-1]]
    cascade = Cascade.of(names, score, *limits, postcheck=postcheck)
    file, *_ = write_onnx(tmp_path, [stages[name] for name in names], cascade, {})
    prediction, escalated, near = image_by_image(models, score, limits, postcheck)
    assert 0.2 < escalated.mean() < 0.3
    for batch in batches if score == "maxp" else batches[-1:]:
        found = in_batches(file, pixels, batch)
        differs = (found["prediction"] != prediction) | (found["escalated"] != escalated)
        assert (near[differs] <= 1e-5).all()
        assert differs.sum() <= 3


@needs_shared
@pytest.mark.slow
def test_the_mean_of_five_thousand_real_images(cifar, tmp_path):
    stages, pixels, scores = cifar
    names = ("resnet20", "resnet56")
    z = [scores[name]["logits"].astype(np.float64) for name in names]
    made = Cascade.of(names, "maxp", middle(scores[names[0]]["maxp"], 0.25), ensemble=True)
    file, *_ = write_onnx(tmp_path, [stages[name] for name in names], made, {})
    sent, answer, near = mean_of(*z, made.limits[0].value)
    for batch, n in ((64, len(pixels)), (16, 500), (1, 500)):
        found = in_batches(file, pixels[:n], batch)
        differs = (found["prediction"] != answer[:n]) | (found["escalated"] != sent[:n])
        assert (near[:n][differs] <= 1e-5).all()
        assert differs.sum() <= 3
