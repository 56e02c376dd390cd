"""Perceptual hashes against ImageHash, against plain rationals, and under the eight symmetries."""

from __future__ import annotations

import doctest
from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from running import IMAGES, needs_shared

from cache import InputError
from stages.datasets import open_split
from stages.hashes import ALL, HASHES, hash_of, rounded_name
from stages.hashes.canonical import canonical_dhash
from stages.hashes.dhash import dhash
from stages.hashes.grey import grey
from stages.hashes.invariants import invariants, rounded
from stages.hashes.moments import ORDERS, area_weights, moments
from stages.hashes.residues import P, Residues
from stages.hashes.resize import down_first
from stages.runtimes import VARIANTS

IMAGENET = IMAGES.parent / "imagenet-sample"
SYMMETRIC = {
    "invariants": invariants,
    "invariants-3": hash_of("invariants-3").function,
    "canonical-dhash": canonical_dhash,
}
LIBRARY = {"dhash": "dhash", "phash": "phash", "ahash": "average_hash", "whash": "whash"}
ODD_AND_EVEN = ((1, 1), (1, 7), (8, 8), (9, 8), (31, 32), (32, 32), (33, 31), (40, 90), (64, 64))


def eight(picture):
    """A picture, uint8 [H, W(, 3)], turned and mirrored in all ways."""
    return [np.rot90(side, k) for side in (picture, picture[:, ::-1]) for k in range(4)]


def key(function, picture):
    return function(np.ascontiguousarray(picture)[None])[0].tobytes()


def noise(rng, *shape):
    return rng.integers(0, 256, shape, np.uint8)


@st.composite
def pictures(draw, largest=12):
    """Grey or coloured, few grey levels or many, so that equal neighbours occur."""
    sides = st.integers(1, largest)
    shape = (draw(sides), draw(sides), *draw(st.sampled_from([(), (3,)])))
    levels = draw(st.sampled_from([1, 2, 255]))
    return draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, levels)))


# --- grey, and the resize ------------------------------------------------------------------------


def test_grey_is_pillows():
    image = pytest.importorskip("PIL.Image")
    levels = np.r_[0:256:5, 1, 127, 128, 254]
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).astype(np.uint8)
    wanted = [np.asarray(image.fromarray(plane).convert("L")) for plane in colours]
    assert (grey(colours) == np.stack(wanted)).all()


def test_a_grey_picture_stays_what_it_is():
    picture = noise(np.random.default_rng(0), 2, 5, 4)
    assert grey(picture) is picture


# --- bit for bit with ImageHash ------------------------------------------------------------------


def by_library(name, pictures):
    imagehash, image = pytest.importorskip("imagehash"), pytest.importorskip("PIL.Image")
    call = getattr(imagehash, LIBRARY[name])
    return [str(call(image.fromarray(np.ascontiguousarray(each)))) for each in pictures]


def pillow_agrees(*shapes):
    """Pillow before 13 always shrinks across first, and we as later ones do."""
    pillow = pytest.importorskip("PIL")
    later = int(pillow.__version__.split(".")[0]) >= 13
    return later or not any(down_first(shape[:2], (8, 9)) for shape in shapes)


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("shape", ODD_AND_EVEN)
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
def test_random_pictures_hash_as_in_imagehash(name, shape, channels):
    if name == "dhash" and not pillow_agrees(shape):
        pytest.skip("this Pillow shrinks tall pictures in another order")
    rng = np.random.default_rng(sum(shape))
    few = 3 if name in ("phash", "whash") else 20
    batch = np.concatenate([noise(rng, few, *shape, *channels), np.zeros((1, *shape, *channels))])
    batch = batch.astype(np.uint8)
    found = [each.tobytes().hex() for each in hash_of(name).digest(batch)]
    assert found == by_library(name, batch)


@given(pictures(largest=40))
def test_dhash_is_imagehashs(picture):
    assume(pillow_agrees(picture.shape))
    assert [key(dhash, picture).hex()] == by_library("dhash", [picture])


@needs_shared
@pytest.mark.parametrize("name", LIBRARY)
def test_real_images_hash_as_in_imagehash(name):
    source = open_split("cifar10", "test", IMAGES.parent)
    real = np.stack([source.read(i) for i in range(1000 if name == "dhash" else 100)])
    found = [each.tobytes().hex() for each in hash_of(name).digest(real)]
    assert found == by_library(name, real)


@pytest.mark.skipif(not IMAGENET.is_dir(), reason=f"no images in {IMAGENET}")
def test_large_real_images_hash_as_in_imagehash():
    source = open_split("imagenet", "val", IMAGENET)
    real = [source.read(i) for i in range(25)]
    found = [each.tobytes().hex() for each in hash_of("dhash").digest_each(real)]
    assert found == by_library("dhash", real)
    assert len({picture.shape for picture in real}) > 5


@given(pictures(largest=20))
@settings(max_examples=50)
def test_canonical_dhash_is_the_smallest_of_eight(picture):
    assume(pillow_agrees(picture.shape, picture.shape[1::-1]))
    assert key(canonical_dhash, picture).hex() == min(by_library("dhash", eight(picture)))


# --- the eight symmetries ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYMMETRIC)
@given(picture=pictures())
@example(picture=np.zeros((5, 4), np.uint8))
@example(picture=np.full((3, 8), 200, np.uint8))
@example(picture=np.full((1, 1), 255, np.uint8))
def test_all_eight_symmetries_have_one_key(name, picture):
    assert len({key(SYMMETRIC[name], turned) for turned in eight(picture)}) == 1


@pytest.mark.parametrize("name", SYMMETRIC)
@pytest.mark.parametrize(
    "shape", [*ODD_AND_EVEN, (33, 32), (100, 75), (97, 101), (333, 500), (1, 200), (500, 2)]
)
def test_all_eight_symmetries_have_one_key_at_any_size(name, shape):
    rng = np.random.default_rng(shape[0])
    for picture in (noise(rng, *shape, 3), np.cumsum(noise(rng, *shape) // 64, 1).astype(np.uint8)):
        assert len({key(SYMMETRIC[name], turned) for turned in eight(picture)}) == 1


@needs_shared
@pytest.mark.parametrize("name", SYMMETRIC)
def test_variants_of_real_images_have_one_key(name):
    source = open_split("cifar10", "test", IMAGES.parent)
    real = [source.read(i) for i in range(500)]
    by = hash_of(name)
    plain = by.digest_each(real)
    for change in VARIANTS.values():
        assert (by.digest_each([change(picture) for picture in real]) == plain).all()


@pytest.mark.parametrize("name", ["dhash", "phash", "ahash", "whash"])
def test_the_other_hashes_take_a_turned_picture_for_another(name):
    hash_of(name).require()
    picture = noise(np.random.default_rng(0), 32, 32)
    keys = {key(hash_of(name).function, turned) for turned in eight(picture)}
    assert len(keys) > 4


# --- the invariants against their definition -----------------------------------------------------


def by_definition(picture):
    """The four normalised invariants in rationals, from complex moments pixel by pixel."""
    shades = grey(picture[None])[0].tolist()
    at = [(j, i, f) for i, row in enumerate(shades) for j, f in enumerate(row)]
    mass = sum(f for _, _, f in at)
    if not mass:
        return (Fraction(0),) * 4
    x0, y0 = (
        Fraction(sum(x * f for x, _, f in at), mass),
        Fraction(sum(y * f for _, y, f in at), mass),
    )

    def moment(p, q):
        total = (Fraction(0), Fraction(0))
        for x, y, f in at:
            value = (Fraction(f), Fraction(0))
            for power, sign in ((p, 1), (q, -1)):
                for _ in range(power):
                    value = product(value, (x - x0, sign * (y - y0)))
            total = (total[0] + value[0], total[1] + value[1])
        return total

    c12 = moment(1, 2)
    raised = {
        2: moment(1, 1),
        5: product(moment(2, 1), c12),
        7: product(moment(2, 0), product(c12, c12)),
        10: product(moment(3, 0), product(c12, product(c12, c12))),
    }
    return tuple(value[0] / Fraction(mass) ** weight for weight, value in raised.items())


def product(a, b):
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def residue(value):
    return value.numerator * pow(value.denominator, -1, P) % P


def words(keys):
    return np.ascontiguousarray(keys).view(">u8").tolist()


@given(pictures(largest=6))
@settings(max_examples=60)
def test_the_invariants_are_those_of_the_definition(picture):
    wanted = by_definition(picture)
    assert words(invariants(picture[None]))[0] == [residue(value) for value in wanted]


def test_a_large_batch_has_the_keys_of_its_pictures():
    """Residues in arrays, against Python's integers picture by picture."""
    rng = np.random.default_rng(1)
    for shape in ((5, 6), (32, 32, 3), (70, 45)):
        batch = noise(rng, 150, *shape)
        batch[3] = 0
        single = np.concatenate([invariants(picture[None]) for picture in batch])
        assert (invariants(batch) == single).all()


def test_the_key_is_pythons_hash_of_the_rationals():
    picture = noise(np.random.default_rng(2), 9, 9)
    wanted = [hash(value) % P for value in by_definition(picture)]
    assert words(invariants(picture[None]))[0] == wanted


@given(pictures(largest=8), st.integers(0, 5), st.integers(0, 5))
def test_the_invariants_do_not_see_where_a_picture_lies_on_black(picture, top, left):
    shades = grey(picture[None])[0]
    framed = np.zeros((shades.shape[0] + 5, shades.shape[1] + 5), np.uint8)
    framed[top : top + shades.shape[0], left : left + shades.shape[1]] = shades
    assert key(invariants, framed) == key(invariants, shades)


@pytest.mark.parametrize("times", [2, 3])
def test_an_enlarged_picture_shrinks_to_the_same_key(times):
    picture = noise(np.random.default_rng(3), 32, 24)
    enlarged = picture.repeat(times, 0).repeat(times, 1)
    assert key(invariants, enlarged) == key(invariants, picture)


def test_black_pictures_have_the_key_zero():
    for batch in (np.zeros((1, 4, 4), np.uint8), np.zeros((100, 40, 50), np.uint8)):
        assert not invariants(batch).any()
        assert not rounded(batch, 3).any()


def test_a_constant_picture_is_not_a_black_one():
    first, *others = words(invariants(np.full((1, 4, 4), 9, np.uint8)))[0]
    assert first > 0
    assert others == [0, 0, 0]


def test_one_grey_value_changes_the_key_and_not_the_rounded_one():
    picture = noise(np.random.default_rng(4), 32, 32)
    other = picture.copy()
    other[10, 10] ^= 1
    assert key(invariants, picture) != key(invariants, other)
    both = np.stack([picture, other])
    same = {digits: len(np.unique(rounded(both, digits), axis=0)) == 1 for digits in (1, 15)}
    assert same == {1: True, 15: False}


def test_rounding_is_to_significant_digits():
    picture = noise(np.random.default_rng(5), 20, 20)
    found = np.ascontiguousarray(rounded(picture[None], 4)).view(">f8")[0]
    for value, wanted in zip(found, by_definition(picture), strict=True):
        assert value == float(f"{float(wanted):.3e}")


# --- what they are made of -----------------------------------------------------------------------


@given(
    hnp.arrays(np.uint64, 7, elements=st.integers(0, P - 1)),
    hnp.arrays(np.uint64, 7, elements=st.integers(1, P - 1)),
)
@example(np.full(1, P - 1, np.uint64), np.full(1, P - 1, np.uint64))
def test_residues_add_multiply_and_divide_as_integers_do(a, b):
    x, y = Residues(a), Residues(b)
    pairs = [(int(i), int(j)) for i, j in zip(a, b, strict=True)]
    assert (x + y).values.tolist() == [(i + j) % P for i, j in pairs]
    assert (x - y).values.tolist() == [(i - j) % P for i, j in pairs]
    assert (x * y).values.tolist() == [i * j % P for i, j in pairs]
    assert y.inverse().values.tolist() == [pow(j, -1, P) for _, j in pairs]
    signed = a.astype(np.int64) - (1 << 60)
    assert Residues.of(signed).values.tolist() == [int(i) % P for i in signed]


@given(st.integers(1, 300), st.integers(1, 300))
def test_area_weights_share_every_pixel_out(height, width):
    weights = area_weights(height, width)
    cells, size = weights.shape
    assert size == height
    assert cells <= 32
    assert (weights >= 0).all()
    assert len(set(weights.sum(axis=1).tolist())) == 1  # cells of one size
    assert len(set(weights.sum(axis=0).tolist())) == 1  # nothing lost, nothing counted twice
    assert (weights == weights[::-1, ::-1]).all()


def test_a_side_keeps_its_proportion():
    assert [len(area_weights(*sides)) for sides in ((500, 375), (375, 500), (2, 500))] == [
        32,
        24,
        1,
    ]


@pytest.mark.parametrize("shape", [(3, 4), (32, 32), (64, 48), (1009, 997)])
def test_moments_are_whole_and_exact(shape):
    """Against sums of Python's integers; the last shape's exceed what a float64 holds."""
    picture = np.full(shape, 255, np.uint8)
    picture[0] = noise(np.random.default_rng(0), shape[1])
    down, across = area_weights(*shape).tolist(), area_weights(*shape[::-1]).tolist()
    rows = picture.astype(object)
    shrunk = np.array(down, object) @ rows @ np.array(across, object).T
    height, width = shrunk.shape
    wanted = [
        sum(
            (2 * j - width + 1) ** p * (2 * i - height + 1) ** q * shrunk[i, j]
            for i in range(height)
            for j in range(width)
        )
        for p, q in ORDERS
    ]
    assert moments(picture[None]).raw[:, 0].tolist() == wanted


# --- collisions ----------------------------------------------------------------------------------


@needs_shared
def test_real_images_rarely_share_a_key():
    """5,000 CIFAR-10 images: so many pairs share a key."""
    source = open_split("cifar10", "test", IMAGES.parent)
    real = np.stack([source.read(i) for i in range(len(source))])
    assert {name: _pairs(hash_of(name).digest(real)) for name in ("dhash", *SYMMETRIC)} == {
        "dhash": 0,
        "canonical-dhash": 0,
        "invariants": 0,
        "invariants-3": 0,
    }


def _pairs(keys):
    counts = np.unique(keys, axis=0, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


# --- the registry --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "invariants-6"])
def test_every_hash_fills_its_keys(name):
    by = hash_of(name)
    by.require()
    batch = noise(np.random.default_rng(6), 4, 16, 16, 3)
    keys = by.digest(batch)
    assert keys.dtype == np.uint8
    assert keys.shape == (4, by.length)
    assert by.bits in (None, 8 * by.length)
    assert (by.digest(batch[2:3]) == keys[2:3]).all()
    assert by.digest(batch[:0]).shape == (0, by.length)


def test_pictures_of_several_sizes_keep_their_order():
    rng = np.random.default_rng(7)
    mixed = [noise(rng, 8, 8), noise(rng, 9, 7, 3), noise(rng, 8, 8), noise(rng, 9, 7)]
    for name in ("dhash", "invariants"):
        wanted = [hash_of(name).digest(each[None])[0] for each in mixed]
        assert (hash_of(name).digest_each(mixed) == np.stack(wanted)).all()


def test_hashing_leaves_the_pictures_alone():
    batch = noise(np.random.default_rng(8), 3, 40, 40)
    batch.flags.writeable = False
    before = batch.copy()
    for name in ALL:
        hash_of(name).digest(batch)
    assert (batch == before).all()


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((2, 4, 4), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((2, 4, 4, 4), np.uint8),
        np.zeros((2, 0, 4), np.uint8),
    ],
    ids=["float", "one picture", "four channels", "no pixels"],
)
def test_what_is_no_batch_of_pictures_is_refused(batch):
    with pytest.raises(ValueError, match="pictures"):
        hash_of("dhash").digest(batch)


@pytest.mark.parametrize(
    ("name", "words"),
    [("dhsh", "did you mean 'dhash'"), ("md5", "choose from"), ("invariants-16", "invariants-1")],
)
def test_an_unknown_hash_is_refused(name, words):
    with pytest.raises(InputError, match=words):
        hash_of(name)


@pytest.mark.parametrize("digits", [-1, 0, 16])
def test_digits_out_of_range_are_refused(digits):
    with pytest.raises(InputError, match="give 1 to 15"):
        rounded_name(digits)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("stages.hashes.spec.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs imagehash, PIL.*cascade-cli\[extract\]"):
        HASHES["phash"].require()
    HASHES["dhash"].require()


@pytest.mark.parametrize("module", ["stages.hashes", "stages.hashes.grey"])
def test_the_examples_in_the_docstrings(module):
    assert doctest.testmod(import_module(module), extraglobs={"np": np}).failed == 0
