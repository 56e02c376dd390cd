"""Models by names of one's own in what runs models: live, policies, check, profile, simulate."""

from __future__ import annotations

import json
import shutil

import marks
import numpy as np
import pytest
from marks import N, alias
from PIL import Image
from running import cascade, logits_of, manifest_of, noise_images, write_folders

from stages.models import build

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

PAIR = ("-m1", "small", "-m2", "big")
LIMIT = ("-t", "0.5")
QUICK = ("--no-alone", "--batch-size", "9", "--json")
PREPROCESSING = {"preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize": [8, 8]}}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Images, weights, a cache c of small and big, and a policy of theirs."""
    root = tmp_path_factory.mktemp("marks")
    with marks.package(root):
        marks.write(root)
        given = ("-d", "marks", "-f", root / "images", "--cache", root / "c")
        both = [word for name in ("small", "big") for word in ("--model", alias(root, name))]
        done = cascade("extract", *given, *both)
        assert done.status == 0, done.err
        policy(root, root / "c")
        yield root


def policy(root, cache, pair=PAIR, name="policy"):
    done = cascade("export", *pair, *LIMIT, "--policy", root / name, "--cache", cache)
    assert done.status == 0, done.err


def ways(root):
    """How the weights of small and big may be given."""
    folder = ("--weights", root / "w")
    files = ("-w1", root / "w" / "small.pt", "-w2", root / "w" / "big.pt")
    whole = ("-m1", alias(root, "small"), "-m2", alias(root, "big"))
    given = {"folder": (*PAIR, *folder), "files": (*PAIR, *files), "whole": whole}
    said = {"folder": folder, "files": files, "whole": whole}
    return given, said


@pytest.mark.parametrize("way", ["folder", "files", "whole"])
@pytest.mark.parametrize("by_policy", [False, True])
def test_live_runs_them(way, by_policy, desk):
    given, said = ways(desk)
    what = ("--policy", desk / "policy", *said[way]) if by_policy else (*given[way], *LIMIT)
    found = cascade("live", *what, *QUICK, "-f", desk / "images", "--cache", desk / "c").json
    assert (found["model_1"], found["model_2"], found["n"]) == ("small", "big", N)
    assert found["agreement"]["outside_noise"] == 0


@pytest.mark.parametrize("by_policy", [False, True])
def test_other_weights_are_refused(by_policy, desk, tmp_path):
    from stages.models import build

    (tmp_path / "w").mkdir()
    shutil.copy(desk / "w" / "small.pt", tmp_path / "w")
    torch.save(build("mark_6").state_dict(), tmp_path / "w" / "big.pt")
    what = ("--policy", desk / "policy") if by_policy else (*PAIR, *LIMIT)
    given = ("-f", desk / "images", "--cache", desk / "c")
    line = cascade("live", *what, *given, "--weights", tmp_path / "w").refusal
    assert "big" in line
    assert " weights " in line
    line = cascade("live", *what, *given).refusal
    assert "no weights for small: give --weights DIR with small.pt" in line


def test_a_file_is_given_once(desk):
    given = ways(desk)[0]["whole"]
    line = cascade("live", *given, "-w1", desk / "w" / "big.pt", "--cache", desk / "c").refusal
    assert "leave out one" in line


def test_a_policy_suffices_for_images_that_the_cache_lacks(desk, tmp_path):
    """Of a cache that knows nothing: the architectures are the policy's."""
    images = ("-f", desk / "images", "--weights", desk / "w", "--cache", tmp_path / "c")
    found = cascade("check", desk / "policy", "--split", "val", *images, "--json").json
    assert (found["split"], found["n"]) == ("val", N)
    live = cascade("live", "--policy", desk / "policy", *images, *QUICK).json
    assert live["agreement"]["outside_noise"] == 0


def test_what_weights_were_trained_on_is_not_forgotten(desk, tmp_path):
    shutil.copytree(desk / "w", tmp_path / "w")
    (tmp_path / "w" / "big.json").write_text('{"trained_on": ["val"]}')
    given = ("-d", "marks", "-f", desk / "images", "--cache", tmp_path / "c")
    by_name = ("--models", "big", "--weights", desk / "w")
    for more in (("--model", alias(tmp_path, "big")), by_name, ("--model", alias(desk, "big"))):
        assert cascade("extract", *given, *more).status == 0
        told = manifest_of(tmp_path / "c", "logits", "test", "big", "marks").provenance
        assert told["trained_on"] == {"splits": ["val"], "source": "stated"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("bogus:W/small.pt", "unknown marks model 'bogus'"),
        ("mark_2:W/nope.pt", "no weights file"),
        ("mark_6:W/big.pt", "the cache holds small with weights "),
        ("mark_6:W/small.pt", "the cache holds small as mark_2, given is mark_6"),
    ],
)
def test_simulate_holds_what_is_said_of_a_model_against_its_logits(said, why, desk):
    first = f"small={said.replace('W', str(desk / 'w'))}"
    given = ("--dataset", "marks", "-m1", first, "-m2", "big", *LIMIT, "--cache", desk / "c")
    assert why in cascade("simulate", *given).refusal


@pytest.mark.parametrize(
    "command",
    [
        *(("threshold",), ("rules",), ("export", "--policy", "none")),
        *((name, "--models") for name in ("threshold", "rules", "search", "score")),
        *(("export", how, "none.csv", "--models") for how in ("-o", "--publish")),
    ],
)
@pytest.mark.parametrize("given", ["small=mark_2:W/small.pt", "file:W/small.pt2"])
def test_what_computes_from_the_cache_takes_its_names_alone(command, given, desk):
    given = given.replace("W", str(desk / "w"))
    models = (f"{given},big",) if "--models" in command else ("-m1", given, "-m2", "big")
    images = ("-d", "marks", "-f", desk / "images") if "--publish" not in command else ()
    line = cascade(*command, *models, *images, "--cache", desk / "c").refusal
    assert line.endswith("extract it once, then say small")


def test_simulate_and_profile_run_them(desk, tmp_path):
    whole, images = ways(desk)[0]["whole"], ("-f", desk / "images")
    asked = ("--dataset", "marks", *whole, *LIMIT, *images, "--cache", tmp_path / "c", "--json")
    row = cascade("simulate", *asked).json
    assert (row["model_1"], row["model_2"], row["n"]) == ("small", "big", N)
    asked = ("-d", "marks", "--models", "small,big", "--weights", desk / "w", "--batch-sizes", "1")
    rows = cascade("profile", *asked, "--quick", *images, "--cache", tmp_path / "c", "--json").json
    assert {each["model"] for each in rows["rows"]} == {"small", "big"}


def program(desk, name, folder):
    """FOLDER/NAME.pt2 of one of the weights."""
    from stages.models import build

    model = build(f"mark_{marks.WIDTHS[name]}")
    model.load_state_dict(torch.load(desk / "w" / f"{name}.pt", weights_only=True))
    free = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, (torch.randn(2, 3, 8, 8),), dynamic_shapes=free)
    torch.export.save(exported, folder / f"{name}.pt2")


def test_a_program_is_found_by_its_name_with_the_preprocessing_of_its_logits(desk, tmp_path):
    for name in marks.WIDTHS:
        program(desk, name, tmp_path)
    shutil.copy(desk / "w" / "big.pt", tmp_path)  # no program: it is passed over
    about = tmp_path / "about.json"
    about.write_text(json.dumps(PREPROCESSING | {"macs": 7, "trained_on": []}))
    data = ("-f", desk / "images", "--cache", tmp_path / "c")
    files = [f"file:{tmp_path / name}.pt2" for name in marks.WIDTHS]
    given = ("-d", "marks", "--models", ",".join(files), "--preprocess", about)
    assert cascade("extract", *given, "--split", "test", *data).status == 0
    for split in ("test", "val"):
        again = ("--models", "small,big", "--weights", tmp_path, "--split", split)
        assert cascade("extract", "-d", "marks", *again, *data).status == 0
        told = manifest_of(tmp_path / "c", "logits", split, "big", "marks").provenance
        assert (told["macs"], told["trained_on"]["splits"]) == (7, [])
    policy(tmp_path, tmp_path / "c")
    by_file = ("-m1", files[0], "-m2", files[1])
    for what in (
        (*PAIR, *LIMIT, "--weights", tmp_path),
        ("--policy", tmp_path / "policy", "--weights", tmp_path),
        ("--policy", tmp_path / "policy", *by_file),
    ):
        assert cascade("live", *what, *QUICK, *data).json["agreement"]["outside_noise"] == 0


def test_a_program_inherits_nothing_from_another_of_its_name(desk, tmp_path):
    given = ("-d", "marks", "-f", desk / "images", "--cache", tmp_path / "c", "--split", "test")
    for name in marks.WIDTHS:
        program(desk, name, tmp_path)
    about = tmp_path / "small.json"
    about.write_text(json.dumps(PREPROCESSING | {"macs": 111}))
    first, other = (f"net=file:{tmp_path / name}.pt2" for name in marks.WIDTHS)
    assert cascade("extract", *given, "--models", first).status == 0
    about.unlink()
    line = cascade("extract", *given, "--models", other, "--overwrite").refusal
    assert "big.pt2 says nothing of its preprocessing: write it into" in line
    assert cascade("extract", *given, "--models", first).status == 0
    told = manifest_of(tmp_path / "c", "logits", "test", "net", "marks").provenance
    assert told["macs"] == 111


def test_imported_logits_have_no_model_to_run(desk, tmp_path):
    labels = tmp_path / "labels.npy"
    np.save(labels, np.arange(6) % 3)
    for name in ("small", "big"):
        np.save(tmp_path / "logits.npy", np.random.default_rng(len(name)).normal(size=(6, 3)))
        given = ("-d", "mine", "--split", "test", "--model", name)
        arrays = ("--logits", tmp_path / "logits.npy", "--labels", labels)
        assert cascade("import", *given, *arrays, "--cache", tmp_path / "c").status == 0
    for more in ((), ("-f", desk / "images")):
        line = cascade("live", *PAIR, *LIMIT, *more, "--cache", tmp_path / "c").refusal
        assert "were imported" in line
        assert "no model to run" in line


@pytest.mark.parametrize("order", ["appended", "shuffled"])
def test_a_limit_that_sees_some_classes_says_so_and_averages_over_those(order, desk):
    images = ("-f", desk / "images", "--weights", desk / "w", "--cache", desk / "c")
    limit = ("--limit", marks.PER_CLASS, "--order", order)
    done = cascade("live", *PAIR, *LIMIT, *limit, *images, *QUICK)
    note = f"the first {marks.PER_CLASS} requests show 1 of 3 classes: `--order shuffled`"
    assert (note in done.err) == (order == "appended")
    report = done.json["classification"]
    present = [report[name] for name in marks.CLASSES if report[name]["support"]]
    assert (len(present) == 1) == (order == "appended")
    for figure in ("precision", "recall", "f1-score"):
        mean = np.mean([row[figure] for row in present])
        assert report["macro avg"][figure] == pytest.approx(mean)
    assert done.json["agreement"]["outside_noise"] == 0


def test_a_slip_in_a_split_is_guessed(desk):
    given = ("-d", "marks", "--cache", desk / "c", "--split", "tset")
    assert "the cache holds test, val; did you mean test?" in cascade("threshold", *given).refusal


# --- the architectures of the digits -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wide", "separable", "plain", "residual"])
def test_an_architecture_of_the_digits_runs_on_coloured_pictures(kind, tmp_path):
    """Its rows are those of a plain loop over the grey pictures at 8 × 8; 7 classes, not 10."""
    pictures, labels = noise_images(20, size=32)
    write_folders(tmp_path / "images", "test", pictures, labels % 7)
    files = sorted((tmp_path / "images").rglob("*.png"))
    torch.manual_seed(5)
    module = build(f"digits_{kind}", classes=7)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    alias = f"mine=digits_{kind}:{tmp_path / 'w.pt'}"
    given = ("-d", "tints", "-f", tmp_path / "images", "--cache", tmp_path / "c")
    [row] = cascade("extract", *given, "--model", alias, "--json").json["models"]
    assert (row["rows"], row["complete"]) == (20, True)
    rows = []
    for file in files:
        grey = Image.open(file).convert("L").resize((8, 8), Image.Resampling.BILINEAR)
        scaled = (torch.tensor(np.array(grey)).float() / 255 - 0.3062) / 0.3765
        with torch.no_grad():
            rows.append(module(scaled[None, None])[0].numpy())
    found = logits_of(tmp_path / "c", "test", "mine", "tints")[1]
    np.testing.assert_allclose(found, rows, atol=2e-5)


def test_weights_of_other_shapes_are_refused_as_ever(tmp_path):
    write_folders(tmp_path / "images", "test", *noise_images(10))
    state = dict(build("digits_plain").state_dict())
    state["conv1.weight"] = torch.zeros(12, 3, 3, 3)  # of three channels
    torch.save(state, tmp_path / "w.pt")
    given = ("-d", "cifar10", "-f", tmp_path / "images", "--cache", tmp_path / "c")
    line = cascade("extract", *given, "--models", f"mine=digits_plain:{tmp_path / 'w.pt'}").refusal
    assert "do not fit digits_plain: tensor conv1.weight has shape [12, 3, 3, 3]" in line
    assert "expected [12, 1, 3, 3]" in line
    line = cascade("extract", *given, "--models", "digits_plain").refusal
    assert "no weights for digits_plain on cifar10: give" in line
    assert line.endswith("(digits_plain is a model of digits)")
