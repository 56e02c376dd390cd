"""Real pictures in every layout, for the tests of the datasets."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, settings
from PIL import Image

from stages.datasets import Source, spec

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


REAL = SHARED / "cifar10" / "test.parquet"


NAMES = spec("cifar10").class_names


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def few_images() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [60, 32, 32, 3] and labels [60]; real CIFAR-10 where it is at hand."""
    if not REAL.exists():
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (60, 32, 32, 3), np.uint8), np.arange(60) % 10
    table = pq.read_table(REAL).slice(0, 60).to_pylist()
    pictures = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in table]
    return np.stack(pictures), np.array([row["label"] for row in table])


PICTURES, LABELS = few_images()


def png(picture: np.ndarray, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(stream, "png")
    return stream.getvalue()


def write_batch(path: Path, pictures: np.ndarray, labels: np.ndarray, protocol: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    batch = {
        "batch_label": "testing batch 1 of 1",
        "labels": labels.tolist(),
        "data": pictures.transpose(0, 3, 1, 2).reshape(len(pictures), 3072).copy(),
        "filenames": [f"picture_{i:04d}.png" for i in range(len(labels))],
    }
    path.write_bytes(pickle.dumps(batch, protocol))


def write_archive(root: Path, protocol: int = 2) -> Path:
    folder = root / "cifar-10-batches-py"
    write_batch(folder / "test_batch", PICTURES, LABELS, protocol)
    for n in range(5):
        rows = slice(12 * n, 12 * n + 12)
        write_batch(folder / f"data_batch_{n + 1}", PICTURES[rows], LABELS[rows], protocol)
    names = {"label_names": list(NAMES)}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol))
    return root


def write_folders(root: Path, split: str = "test", names: tuple[str, ...] = NAMES) -> Path:
    for i, (picture, label) in enumerate(zip(PICTURES, LABELS, strict=True)):
        path = root / split / names[label] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(picture))
    return root


def image_table(
    images: list[bytes | None],
    labels: object,
    paths: list[str | None] | None = None,
    column: str = "img",
    names: list[str] | None = None,
) -> pa.Table:
    rows = [
        {"bytes": b, "path": p} for b, p in zip(images, paths or [None] * len(images), strict=True)
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    label = labels if isinstance(labels, pa.Array) else pa.array(labels, pa.int64())
    table = pa.table({column: pa.array(rows, kind), "label": label})
    if names is None:
        return table
    features = {column: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def real_table() -> pa.Table:
    return image_table([png(p) for p in PICTURES], LABELS, names=list(NAMES))


def write_parquet(path: Path, table: pa.Table, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def write_layouts(root: Path) -> Path:
    """The same 60 pictures as an archive, folders and a Parquet file."""
    write_archive(root / "archive")
    write_folders(root / "folders")
    write_parquet(root / "parquet" / "test.parquet", real_table(), row_group_size=7)
    return root


def pictures_of(source: Source) -> np.ndarray:
    return np.stack([source.read(i) for i in range(len(source))])
