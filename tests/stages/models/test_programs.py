"""Exported programs: the logits of the model they came from, and nothing executed from a file."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cache import InputError
from stages.models import choose, load
from stages.models.archive import CONSTANTS, GRAPH, SAMPLES, WEIGHTS, Facts, facts
from stages.runtimes import Preprocessing

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from stages.runtimes import Runner  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
ABOUT = {
    "preprocessing": {"resize": 10, "crop": 8, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.3]},
    "trained_on": ["train"],
}


class Small(nn.Module):
    """A buffer that is not saved, a constant, batch norm and a block without gradients."""

    def __init__(self, classes=5):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)
        self.register_buffer("scale", torch.full((4,), 1.5), persistent=False)

    def forward(self, x):
        with torch.no_grad():
            y = self.norm(self.conv(x)).relu().mean((2, 3)) * self.scale
        return self.head(y + torch.tensor([0.1, 0.2, 0.3, 0.4]))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Small().eval()


BATCHES = {
    "free": (2, {0: torch.export.Dim("batch")}),
    "from 2 to 4": (2, {0: torch.export.Dim("batch", min=2, max=4)}),
    "of 3": (3, None),
    "of 1": (1, None),
}


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """A folder per kind of batch, with the program net.pt2 and its JSON."""
    root = tmp_path_factory.mktemp("exported")
    for kind, (size, shapes) in BATCHES.items():
        folder = root / kind
        folder.mkdir()
        images = torch.randn(size, 3, 8, 8)
        program = torch.export.export(model, (images,), dynamic_shapes=shapes and (shapes,))
        torch.export.save(program, folder / "net.pt2")
        (folder / "net.json").write_text(json.dumps(ABOUT))
    return root


@pytest.fixture
def net(exported):
    return exported / "free" / "net.pt2"


def chosen(reference, **how):
    [one] = choose("mine", [reference], **how)
    return one


# what runs


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_batch_gives_the_models_logits(kind, count, exported, model):
    one = chosen(f"file:{exported / kind / 'net.pt2'}")
    images = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(count))
    runner = Runner.of(load(one.spec, one.weights), one.spec.preprocessing, torch.device("cpu"))
    with torch.inference_mode():
        expected = model(images)
    torch.testing.assert_close(runner.logits(images), expected, rtol=1e-5, atol=1e-6)


def test_what_is_known_without_running_it(exported, model):
    parameters = sum(p.numel() for p in model.parameters())
    limits = {"free": (1, None), "from 2 to 4": (2, 4), "of 3": (3, 3), "of 1": (1, 1)}
    for kind, batch in limits.items():
        assert facts(exported / kind / "net.pt2") == Facts((3, 8, 8), *batch, 5, parameters)


def test_a_program_as_a_model(net):
    import hashlib

    one = chosen(f"file:{net}")
    assert (one.name, one.spec.name, one.spec.dataset, one.spec.classes) == (
        "net",
        "net",
        "mine",
        5,
    )
    assert one.weights.sha256 == hashlib.sha256(net.read_bytes()).hexdigest()
    assert (one.weights.trained_on, one.weights.trained_on_source) == (("train",), "stated")
    stated = ABOUT["preprocessing"]
    mean, std = tuple(stated["mean"]), tuple(stated["std"])
    assert one.spec.preprocessing == Preprocessing(mean, std, 10, (8, 8))
    assert one.spec.parameters == 145


def test_aliases_and_files_name_programs(net, tmp_path):
    assert chosen("lite", files={"lite": net}).spec.classes == 5
    assert chosen(f"lite=file:{net}").name == "lite"
    names = choose("mine", [f"file:{net}", f"b=file:{net}"], [f"c=file:{net}"])
    assert [one.name for one in names] == ["net", "b", "c"]
    with pytest.raises(InputError, match="model 'net' is defined twice"):
        choose("mine", [f"file:{net}", f"file:{net}"])


def test_another_json_can_be_given(net, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"preprocessing": ABOUT["preprocessing"] | {"resize": 9}}))
    one = chosen(f"file:{net}", preprocess=other)
    assert (one.spec.preprocessing.resize, one.weights.trained_on_source) == (9, "stated")
    with pytest.raises(InputError, match="--preprocess is for file"):
        choose("digits", ["digits_plain"], preprocess=other)


def test_other_precisions_are_refused_in_words(net):
    one = chosen(f"file:{net}")
    module = load(one.spec, one.weights)
    with pytest.raises(InputError, match="only in the precision it was exported in"):
        Runner.of(module, one.spec.preprocessing, torch.device("cpu"), "bf16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_program_moves_to_the_gpu(net, model):
    one = chosen(f"file:{net}")
    device = torch.device("cuda")
    runner = Runner.of(load(one.spec, one.weights), one.spec.preprocessing, device)
    images = torch.randn(5, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(
            runner.logits(images.to(device)).cpu(), model(images), rtol=1e-4, atol=1e-5
        )


# what is refused


def loaded(path, **how):
    one = chosen(f"file:{path}", **how)
    return load(one.spec, one.weights)


def refusal(path, **how):
    with pytest.raises(InputError) as caught:
        loaded(path, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "says nothing of its preprocessing: write it into"),
        ("{", "cannot be read as JSON"),
        ("[]", "holds 'no object'"),
        ('{"preprocess": 1}', "holds 'preprocess': it may hold classes, macs"),
        ("{}", "should be an object with mean, std"),
        ('{"preprocessing": {"mean": [0.5], "std": [0.5, 1]}}', "1 or 3 means"),
        ('{"preprocessing": {"mean": 0.5, "std": 0}}', "positive std"),
        ('{"preprocessing": {"mean": ["a"], "std": [1]}}', "numbers for mean"),
        ('{"preprocessing": {"mean": [NaN], "std": [1]}}', "numbers for mean"),
        ('{"preprocessing": {"mean": 0, "std": 1, "crop": 0}}', "pixels for crop"),
        ('{"preprocessing": {"mean": 0, "std": 1, "crop": [8, 8, 8]}}', "a number or [height"),
        ('{"preprocessing": {"mean": 0, "std": 1, "interpolation": "x"}}', "interpolation nearest"),
        ('{"preprocessing": {"mean": 0, "std": 1, "crop": 8}}', "takes pictures of 3×8×8 but"),
        ('{"preprocessing": {"mean": [0,0,0], "std": [1,1,1], "crop": 9}}', "gives 3×9×9"),
        ('{"preprocessing": {"mean": [0,0,0], "std": [1,1,1]}, "classes": 6}', "JSON says 6"),
        ('{"preprocessing": {"mean": [0,0,0], "std": [1,1,1]}, "macs": -1}', "macs -1"),
        ('{"preprocessing": {"mean": [0,0,0], "std": [1,1,1]}, "trained_on": 1}', "correct it"),
    ],
)
def test_the_json_is_checked(text, message, net, tmp_path):
    path = tmp_path / "net.pt2"
    path.write_bytes(net.read_bytes())
    if text is not None:
        path.with_suffix(".json").write_text(text)
    assert message in refusal(path)


def test_other_names_are_refused(net, tmp_path):
    assert "is no torch.export program" in refusal(net.with_suffix(".pt"))
    assert "no file" in refusal(tmp_path / "absent.pt2")
    with pytest.raises(InputError, match="is no torch"):
        choose("mine", ["a=file:weights.pt"])


@pytest.mark.parametrize("inputs", ["two", "no batch"])
def test_other_programs_are_refused(inputs, tmp_path):
    class Other(nn.Module):
        def forward(self, x, y=None):
            return x.mean() if y is None else x.mean((2, 3)) + y

    images = (torch.randn(2, 3, 8, 8),) + ((torch.randn(2, 3),) if inputs == "two" else ())
    torch.export.save(torch.export.export(Other().eval(), images), tmp_path / "x.pt2")
    (tmp_path / "x.json").write_text(json.dumps(ABOUT))
    assert ("2 inputs" if inputs == "two" else "[B, C, H, W]") in refusal(tmp_path / "x.pt2")


def rewritten(net, folder, change):
    """A copy of the archive; `change` edits {member: bytes} in place."""
    with zipfile.ZipFile(net) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(members)
    path = folder / "bad.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"net/{name}", content)
    path.with_suffix(".json").write_text(json.dumps(ABOUT))
    return path


def edited(member, change):
    """Edits the JSON of a member: `change` gets it decoded."""

    def edit(members):
        content = json.loads(members[member])
        change(content)
        members[member] = json.dumps(content).encode()

    return edit


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def saved(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def pickled(config, folder, name):
    def change(members):
        members[f"data/{folder}/{name}"] = saved(Malice(MARK))
        content = json.loads(members[config])
        payload = next(iter(content["config"].values()))
        payload |= {"use_pickle": True, "path_name": name}
        members[config] = json.dumps(content).encode()

    return change


MARK = "mark"
CODE = f"__import__('os').mkdir('{MARK}')"


def first_node(graph, **changes):
    for node in graph["graph_module"]["graph"]["nodes"]:
        if node["target"].startswith("torch.ops.aten"):
            node |= changes
            return


def first_symbol(node, code):
    if isinstance(node, dict):
        if "expr_str" in node:
            node["expr_str"] = code
            return
        node = node.values()
    if not isinstance(node, (str, int, float, bool, type(None))):
        for each in node:
            first_symbol(each, code)


def mkdir_node(graph):
    first_node(
        graph,
        target="torch.os.mkdir",
        inputs=[{"name": "", "arg": {"as_string": MARK}, "kind": 1}],
    )


def from_file_node(graph):
    strings = [{"name": "filename", "arg": {"as_string": MARK}, "kind": 1}]
    strings += [{"name": "shared", "arg": {"as_bool": True}, "kind": 1}]
    strings += [{"name": "size", "arg": {"as_int": 4}, "kind": 1}]
    first_node(graph, target="torch.ops.aten.from_file.default", inputs=strings)


def renamed_input(graph):
    text = json.dumps(graph["graph_module"]).replace('"x"', json.dumps(f"x={CODE}"))
    graph["graph_module"] = json.loads(text)


def enum_tree(graph):
    entry = graph["graph_module"]["module_call_graph"][0]
    entry["signature"]["out_spec"] = json.dumps(
        [
            1,
            {
                "type": "builtins.dict",
                "context": '[{"__enum__": true, "fqn": "os.x", "name": "y"}]',
                "children_spec": [],
            },
        ]
    )


ATTACKS = {
    "pickled sample inputs": lambda members: members.update({SAMPLES: saved(Malice(MARK))}),
    "bare pickle": lambda members: members.update({SAMPLES: pickle.dumps(Malice(MARK))}),
    "pickled weight": pickled(WEIGHTS, "weights", "weight_99"),
    "pickled constant": pickled(CONSTANTS, "constants", "tensor_99"),
    "opaque object": pickled(CONSTANTS, "constants", "opaque_obj_0"),
    "script object": pickled(CONSTANTS, "constants", "custom_obj_0"),
    "legacy weights": lambda members: members.update({"data/weights/model.pt": saved({})}),
    "compiled library": lambda m: m.update({"data/aotinductor/model/x.so": b"\x7fELF"}),
    "another program": lambda members: members.update({"models/other.json": members[GRAPH]}),
    "climbing path": lambda members: members.update({"../../x": b"x"}),
    "operator": edited(GRAPH, mkdir_node),
    "operator that writes": edited(GRAPH, from_file_node),
    "extension": edited(GRAPH, lambda graph: first_node(graph, target="#os:mkdir")),
    "size": edited(GRAPH, lambda graph: first_symbol(graph, CODE)),
    "hidden size": edited(GRAPH, lambda graph: first_symbol(graph, f"Max(1, {CODE})")),
    "power tower": edited(GRAPH, lambda graph: first_symbol(graph, "9**9**9**9")),
    "name": edited(GRAPH, renamed_input),
    "tree": edited(GRAPH, enum_tree),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_a_file_is_executed(attack, net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = rewritten(net, tmp_path, ATTACKS[attack])
    message = refusal(path)
    assert "could run code" in message or "cannot be read (UnpicklingError" in message
    assert not os.path.exists(MARK)


def test_the_attacks_would_work_on_torch_itself(net, tmp_path, monkeypatch):
    """Else the test above shows nothing."""
    monkeypatch.chdir(tmp_path)
    for attack in ("pickled sample inputs", "pickled weight", "size"):
        path = rewritten(net, tmp_path, ATTACKS[attack])
        with suppress(Exception):  # after the harm is done
            torch.export.load(path)
        assert os.path.isdir(MARK), attack
        os.rmdir(MARK)


def test_guards_and_metadata_are_left_out(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = rewritten(net, tmp_path, edited(GRAPH, lambda graph: graph.update(guards_code=[CODE])))
    one = chosen(f"file:{path}")
    load(one.spec, one.weights)(torch.randn(2, 3, 8, 8))
    assert not os.path.exists(MARK)


def test_compressed_members_are_refused(net, tmp_path):
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(net) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    path.with_suffix(".json").write_text(json.dumps(ABOUT))
    assert "a compressed member" in refusal(path)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_programs_are_refused(keep, net, tmp_path):
    path, data = tmp_path / "net.pt2", net.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    path.with_suffix(".json").write_text(json.dumps(ABOUT))
    message = refusal(path)  # the end of an archive may be the end of one inside it
    assert "is no whole torch.export archive" in message or "a member" in message


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_bytes_never_end_in_another_error(data, exported, tmp_path):
    content = bytearray((exported / "of 1" / "net.pt2").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(ABOUT))
    try:
        one = chosen(f"file:{path}")
        load(one.spec, one.weights)(torch.zeros(1, 3, 8, 8))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_a_described_preprocessing_is_read_back():
    for each in (
        Preprocessing((0.5,), (0.5,)),
        Preprocessing((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 256, (224, 200), "bicubic"),
        Preprocessing((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), (31, 47), None, "lanczos"),
    ):
        assert Preprocessing.of(json.loads(json.dumps(each.describe())), "x") == each


def test_a_strip_that_would_fill_the_memory_is_refused():
    strip = np.zeros((1, 60_000, 3), np.uint8)
    with pytest.raises(InputError, match="would become 256×15360000"):
        Preprocessing((0.5,) * 3, (0.5,) * 3, 256, (224, 224)).pixels(strip)
