"""PNG of our own against pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stages.labelling import picture


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (3, 70), (1, 1, 3), (40, 33, 3), (300, 2, 3)])
def test_pillow_reads_the_same_pixels(shape):
    array = np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)
    read = Image.open(io.BytesIO(picture(array)))
    assert (read.format, read.mode) == ("PNG", "RGB" if len(shape) == 3 else "L")
    assert (np.asarray(read) == array).all()


def test_a_view_that_is_not_contiguous():
    array = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8).transpose(1, 2, 0)
    assert (np.asarray(Image.open(io.BytesIO(picture(array[::-1, ::2])))) == array[::-1, ::2]).all()


@pytest.mark.parametrize("shape", [(), (8,), (0, 8), (8, 8, 1), (8, 8, 4), (2, 8, 8, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="no picture"):
        picture(np.zeros(shape, np.uint8))


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="float64"):
        picture(np.zeros((8, 8)))
