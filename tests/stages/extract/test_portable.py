"""What workers check before they make anything, and what of a cluster they are given."""

from __future__ import annotations

import pickle
import sys
import threading
from dataclasses import replace

import pytest
from running import noise_images, seeded_weights, write_folders

from cache import InputError, Store

torch = pytest.importorskip("torch")

from stages import extract  # noqa: E402
from stages.datasets import open_split  # noqa: E402
from stages.extract import (  # noqa: E402
    engines,
    ray_cluster,
    ray_engine,
)
from stages.extract.portable import (  # noqa: E402
    arrived,
    portable,
)
from stages.extract.ray_cluster import (  # noqa: E402
    Share,
    open_cluster_device,
    share,
)
from stages.models import choose  # noqa: E402
from stages.models.weights import SHIPPED  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The work of a run with relative paths."""
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path / "data", "test", *noise_images(20))
    seeded_weights(tmp_path / "w" / "resnet20.pt")
    taken = []

    def take(work, options, loaded, tell):
        taken.append(work)
        yield from ()

    engine = replace(engines.ENGINES["local"], make=take)
    monkeypatch.setitem(engines.ENGINES, "taken", engine)
    chosen = choose("cifar10", ["resnet20"], directory="w")
    sources = [open_split("cifar10", "test", "data")]
    extract.run(Store("cache"), sources, chosen, extract.Options(CPU, engine="taken"))
    return taken[0]


def sent(work):
    return pickle.loads(pickle.dumps(portable(work)))


def test_work_arrives_in_another_folder(work, tmp_path, monkeypatch):
    parcel = sent(work)
    assert len(pickle.dumps(parcel)) < 1 << 14
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = arrived(*parcel)
    assert there.root == str(tmp_path / "cache")
    assert there.tasks[0].chosen.weights.path == tmp_path / "w" / "resnet20.pt"
    assert list(there.sources[0].keys) == list(work.sources[0].keys)
    assert there.items() == work.items() == [(0, 0)]


def test_a_uri_stays_as_it_is(work):
    root = "s3://bucket/cache?endpoint_override=127.0.0.1:1&scheme=http"
    assert portable(replace(work, root=root))[0].root == root


def test_other_images_on_the_worker(work, tmp_path):
    parcel = sent(work)
    sorted((tmp_path / "data").rglob("*.png"))[-1].rename(tmp_path / "data/test/cat/z.png")
    with pytest.raises(InputError, match=r"cifar10/test has other images on this worker than on"):
        arrived(*parcel)


def test_other_weights_on_the_worker(work, tmp_path):
    parcel = sent(work)
    seeded_weights(tmp_path / "w" / "resnet20.pt", seed=1)
    with pytest.raises(InputError, match=r"is not the driver's file of resnet20 \(SHA-256"):
        arrived(*parcel)


def test_shipped_weights_lie_elsewhere_on_the_worker():
    [chosen] = choose("digits", ["digits_wide"])
    moved = replace(chosen, weights=replace(chosen.weights, path=SHIPPED / "not" / "here.pt"))
    from stages.extract.portable import _weights_here

    assert _weights_here(moved) == chosen.weights.path


def test_no_weights_on_the_worker(tmp_path):
    [chosen] = choose("digits", ["digits_wide"])
    moved = replace(chosen.weights, path=tmp_path / "gone.pt", sha256="0" * 64)
    from stages.extract.portable import _weights_here

    with pytest.raises(InputError, match="is not the driver's file of digits_wide"):
        _weights_here(replace(chosen, weights=moved))


def test_another_cache_on_the_worker(work, tmp_path):
    with pytest.raises(InputError, match=r"is not the driver's: give --cache a folder that all"):
        ray_engine._check_cache(replace(work, root=str(tmp_path / "local")), ".tmp/probe.part")
    with ray_engine._probe(Store(work.root)) as probe:
        ray_engine._check_cache(work, probe)
        assert Store(work.root).exists(probe)
    assert not Store(work.root).exists(probe)


def test_another_torch_on_the_worker(work, monkeypatch):
    ray_engine._check_versions(work)
    mine = work.tasks[0].provenance["versions"]
    monkeypatch.setattr(ray_engine, "versions", lambda: mine | {"torch": "1.0"})
    with pytest.raises(InputError, match=r"has torch 1\.0, the driver 2.*: install the same on"):
        ray_engine._check_versions(work)


# --- what a cluster gives ------------------------------------------------------------------------

TWO = [{"CPU": 8.0}, {"CPU": 5.0}]
GPUS = [{"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}, {"CPU": 10.0, "GPU": 1.0}]


@pytest.mark.parametrize(
    ("nodes", "device", "wanted", "expected"),
    [
        (TWO, CPU, None, Share(2, 5, 0)),
        (TWO, CPU, 4, Share(4, 2, 0)),
        (TWO, CPU, 13, Share(13, 1, 0)),
        ([{"CPU": 1.0}, {"CPU": 7.0}, {}], CPU, 8, Share(8, 1, 0)),
        (GPUS, CUDA, None, Share(5, 8, 1)),
        (GPUS, CUDA, 2, Share(2, 8, 1)),
        ([{"CPU": 2.0, "GPU": 4.0}], CUDA, None, Share(4, 0, 1)),
    ],
)
def test_shares(nodes, device, wanted, expected, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_nodes", lambda: nodes)
    found = share(device, wanted)
    assert found == expected
    kind, each = ("GPU", found.gpus) if found.gpus else ("CPU", found.cpus)
    room = sum(int(node[kind] // each) for node in nodes if kind in node)
    assert room >= found.workers


@pytest.mark.parametrize(
    ("nodes", "device", "wanted", "message"),
    [
        (TWO, CUDA, None, "has no GPU: give another --device"),
        (TWO, CPU, 14, "has 13 CPUs for 14 workers: give --ray-workers 13 or less"),
        (GPUS, CUDA, 6, "has 5 GPUs for 6 workers"),
        ([{}], CPU, None, "has no CPU"),
    ],
)
def test_more_than_there_is(nodes, device, wanted, message, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_nodes", lambda: nodes)
    with pytest.raises(InputError, match=message):
        share(device, wanted)


def test_the_device_is_the_clusters(monkeypatch):
    """The driver needs no GPU."""
    monkeypatch.setattr(ray_cluster, "_nodes", lambda: GPUS)
    assert open_cluster_device(None, "tf32") == CUDA
    assert open_cluster_device("cuda:3", "fp32") == CUDA
    assert open_cluster_device("cpu", "fp32") == CPU
    monkeypatch.setattr(ray_cluster, "_nodes", lambda: TWO)
    assert open_cluster_device(None, "fp32") == CPU
    for name, precision in (("mps", "fp32"), ("cpu", "fp31"), ("cpu", "tf32")):
        with pytest.raises(InputError):
            open_cluster_device(name, precision)


def test_without_ray(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'cascade-cli\[ray\]'"):
        extract.run(Store("unused"), [], [], extract.Options(CPU, engine="ray"))


def test_options_that_contradict_each_other():
    with pytest.raises(InputError, match="--devices are this machine's"):
        extract.Options(CPU, engine="ray", devices=(CPU, CPU))
    with pytest.raises(InputError, match="--ray-workers is for --engine ray"):
        extract.Options(CPU, ray_workers=2)


def test_only_our_own_thread_prints(capsys):
    """Ray tells of lost workers on stdout, where JSON goes."""
    ours = ray_cluster._OwnThread(sys.stdout)
    other = threading.Thread(target=print, args=("theirs",), kwargs={"file": ours})
    other.start()
    other.join()
    print("ours", file=ours)
    assert capsys.readouterr().out == "ours\n"
