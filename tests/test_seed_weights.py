"""Seeded weights: repeatable, loadable, and with answers that depend on the picture."""

from __future__ import annotations

import sys

import pytest

from stages.models import choose, get, load

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from tools import seed_weights  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("resnet18", "mobilenet_v3_small", "squeezenet1_1", "swin_t")


@pytest.mark.parametrize("name", NAMES)
def test_answers_depend_on_the_picture(name, tmp_path):
    spec = get(name)
    seed_weights.write(spec, tmp_path, classes=50)
    [one] = choose("imagenet", [name], directory=tmp_path)
    assert one.weights.trained_on == ()
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        images = torch.nn.functional.interpolate(images, spec.preprocessing.size)
        logits = load(spec, one.weights)(images)
    assert logits.shape == (4, 50)
    assert logits.isfinite().all()
    assert (logits - logits.mean(0)).std() > 0.1


def test_the_seed_and_the_name_decide():
    first, again = (seed_weights.seeded(get("resnet20")) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = seed_weights.seeded(get("resnet20"), seed=1)
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


def test_the_command_writes_what_was_named(tmp_path, monkeypatch, capsys):
    names = ["resnet20", "vgg11_bn"]
    command = ["seed_weights", "cifar10", str(tmp_path / "w"), "--models", ",".join(names)]
    monkeypatch.setattr(sys, "argv", command)
    seed_weights.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
    chosen = choose("cifar10", ["all-available"], directory=tmp_path / "w")
    assert [one.name for one in chosen] == names
