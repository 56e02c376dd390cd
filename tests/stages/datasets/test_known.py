"""The datasets that have a name: their classes, their splits' names, their archives."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pictures import LABELS, PICTURES, image_table, pictures_of, png, write_parquet

from cache import InputError
from stages.datasets import fingerprint, open_split, spec, splits

PNG = png(PICTURES[0])


def write_images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def test_imagenets_classes_are_torchvisions_in_the_order_of_wordnet() -> None:
    models = pytest.importorskip("torchvision.models")
    known = spec("imagenet")
    theirs = models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    assert list(known.class_names) == theirs
    assert list(known.class_folders) == sorted(set(known.class_folders))
    assert len(known.class_folders) == known.classes == 1000


def test_imagenets_ids_are_timms() -> None:
    timm_data = pytest.importorskip("timm.data")
    info = timm_data.ImageNetInfo()
    known = spec("imagenet")
    ids = [info.index_to_label_name(i) for i in range(1000)]
    assert list(known.class_folders) == ids


def test_torchvisions_imagenet_layout_has_its_labels_even_in_part(tmp_path: Path) -> None:
    names = ("n01443537", "n01440764", "n15075141")
    write_images(tmp_path, *(f"val/{name}/ILSVRC2012_val_{i}.JPEG" for i, name in enumerate(names)))
    source = open_split("imagenet", "val", tmp_path)
    assert source.labels.tolist() == [0, 1, 999]
    assert [source.class_names[label] for label in source.labels] == [
        "tench",
        "goldfish",
        "toilet tissue",
    ]
    assert source.keys[0] == "val/n01440764/ILSVRC2012_val_1.JPEG"
    assert source.n_classes == 1000
    write_images(tmp_path, "val/n00000000/1.png")
    with pytest.raises(
        InputError, match=r"n00000000: no class .* n01440764, n01443537, n01484850, …"
    ):
        open_split("imagenet", "val", tmp_path)


def test_validation_is_val_in_imagenet_and_only_there(tmp_path: Path) -> None:
    table = image_table([PNG], [7])
    write_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", table)
    assert splits("imagenet", tmp_path) == ["val"]
    one, two = (open_split("imagenet", split, tmp_path) for split in ("val", "validation"))
    assert (one.split, two.split) == ("val", "val")
    assert fingerprint(one) == fingerprint(two)
    assert splits("mine", tmp_path) == ["validation"]
    write_parquet(tmp_path / "data" / "val.parquet", image_table([PNG] * 2, [7, 8]))
    assert len(open_split("imagenet", "val", tmp_path)) == 2  # a name goes before its aliases
    assert splits("mine", tmp_path) == ["val", "validation"]


@pytest.mark.parametrize("root", ["", "ILSVRC2012_img_val/"])
def test_flat_imagenet_files_have_no_labels(root: str, tmp_path: Path) -> None:
    write_images(tmp_path, f"{root}ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(InputError, match=r"lie in no class folders, so their classes are unknown"):
        open_split("imagenet", "val", tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_intels_folders_nested_or_not(nested: bool, tmp_path: Path) -> None:
    for split in ("seg_train", "seg_test"):
        inner = f"{split}/{split}" if nested else split
        classes = spec("intel").class_names
        write_images(tmp_path, *(f"{inner}/{name}/{i}.jpg" for i, name in enumerate(classes)))
    write_images(tmp_path, "seg_pred/seg_pred/5.jpg")
    assert splits("intel", tmp_path) == ["test", "train"]
    for split in ("test", "seg_test"):
        source = open_split("intel", split, tmp_path)
        assert (source.split, source.labels.tolist()) == ("test", list(range(6)))
        assert source.keys[4] == "seg_test/sea/4.jpg"
        assert source.read(4).shape == (32, 32, 3)
    alone = open_split("intel", "test", tmp_path / ("seg_test" if nested else ""))
    assert fingerprint(alone) == fingerprint(source)


def write_cifar100(root: Path, protocol: int = 2) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    names = list(spec("cifar100").class_names)
    batch = {
        "data": PICTURES.transpose(0, 3, 1, 2).reshape(60, 3072).copy(),
        "fine_labels": [int(label) * 10 + 9 for label in LABELS],
        "coarse_labels": [0] * 60,
        "filenames": [f"picture_{i:04d}.png" for i in range(60)],
    }
    for split in ("train", "test"):
        (folder / split).write_bytes(pickle.dumps(batch, protocol))
    meta = {"fine_label_names": names, "coarse_label_names": ["x"] * 20}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol))
    return root


def test_cifar100_reads_as_torchvision_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.CIFAR100, "_check_integrity", lambda self: True)
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    theirs = datasets.CIFAR100(write_cifar100(tmp_path), train=False)
    for data in (tmp_path, tmp_path / "cifar-100-python"):
        ours = open_split("cifar100", "test", data)
        np.testing.assert_array_equal(pictures_of(ours), theirs.data)
        assert ours.labels.tolist() == theirs.targets
        assert list(ours.class_names) == theirs.classes
        assert ours.keys[2] == "cifar-100-python/test/picture_0002.png"


def test_each_archive_belongs_to_its_own_dataset(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    assert splits("cifar100", tmp_path) == ["test", "train"]
    with pytest.raises(InputError, match="no images of cifar10 there"):
        splits("cifar10", tmp_path)
    assert open_split("mine", "test", tmp_path).class_names == spec("cifar100").class_names
    (tmp_path / "cifar-100-python" / "meta").unlink()
    (tmp_path / "cifar-100-python").rename(tmp_path / "other")  # "train" and "test" say nothing
    with pytest.raises(InputError, match="no images of cifar100"):
        open_split("cifar100", "test", tmp_path / "other")


@pytest.mark.parametrize("file", ["test", "meta"])
def test_a_planted_pickle_in_cifar100_is_refused_and_not_run(file: str, tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    write_cifar100(tmp_path)
    path = tmp_path / "cifar-100-python" / file
    path.write_bytes(pickle.dumps({b"data": Planted(), b"fine_label_names": Planted()}))
    name = "cifar100" if file == "test" else "mine"  # only an unknown name reads the names there
    with pytest.raises(InputError, match=r"refused, because it wants to run \w+\.system"):
        open_split(name, "test", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_cifar100_as_hugging_face_writes_it(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(p), "path": None} for p in PICTURES[:4]], kind)
    fine, coarse = pa.array([0, 99, 50, 7]), pa.array([0, 1, 2, 3])
    table = pa.table({"img": images, "fine_label": fine, "coarse_label": coarse})
    names = list(spec("cifar100").class_names)
    features = {"fine_label": {"names": names}, "coarse_label": {"names": ["x"] * 20}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path = tmp_path / "cifar100" / "test-00000-of-00001.parquet"
    write_parquet(path, table.replace_schema_metadata(metadata))
    source = open_split("cifar100", "test", tmp_path)
    assert source.labels.tolist() == [0, 99, 50, 7]
    assert source.class_names == spec("cifar100").class_names


@pytest.mark.parametrize("name", ["cifar100", "fashionmnist", "intel", "imagenet"])
def test_what_is_known_fits_together(name: str) -> None:
    known = spec(name)
    assert len(known.class_names) == len(set(known.class_names)) == known.classes
    assert known.default_split in known.splits
    assert set(known.aliases.values()) <= set(known.splits)
    assert len(known.mean) == len(known.std) == 3
