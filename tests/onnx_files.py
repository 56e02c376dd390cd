"""Small ONNX files: a classifier of pictures, and whatever else is put into its graph."""

from __future__ import annotations

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

SHAPE, CLASSES = (1, 8, 8), 10
ABOUT = {"preprocessing": {"mean": [0.3], "std": [0.4]}, "trained_on": ["train"]}


def weights(name="weights", shape=(64, CLASSES), seed=3):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def flatten_and_multiply(batch="batch", **parts):
    """[batch, 1, 8, 8] → [batch, 10]; `parts` replace or add to those of the graph."""
    own = {
        "nodes": [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "inputs": [value("pixels", batch, *SHAPE)],
        "outputs": [value("logits", batch, CLASSES)],
        "initializer": [weights()],
    }
    more = parts.pop("more", [])
    kept = {name: parts.pop(name, own[name]) for name in own}
    kept["nodes"] = [*more, *kept["nodes"]]
    graph = helper.make_graph(name="net", **kept)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.evil", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, **parts)


def written(folder, model=None, name="net"):
    """The model's file, with a JSON beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    save(flatten_and_multiply() if model is None else model, path)
    path.with_suffix(".json").write_text(json.dumps(ABOUT))
    return path


def expected(pixels):
    """float32 [B, 10] of uint8 [B, 1, 8, 8], by numpy."""
    normalised = (pixels.astype(np.float32) / 255 - np.float32(0.3)) / np.float32(0.4)
    return normalised.reshape(len(pixels), -1) @ numpy_helper.to_array(weights())
