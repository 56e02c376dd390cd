"""What happens to a decoded picture before a model sees it.

The part that depends on the picture's size runs on the CPU and yields uint8; scaling to [0, 1] and
normalising run on the model's device, with the operations and order of torchvision's ToTensor and
Normalize.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from cache import InputError

if TYPE_CHECKING:
    import torch

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
LARGEST = 1 << 27  # pixels after resizing: a strip of 1 × 50,000 would become 256 × 12,800,000


@dataclass(frozen=True)
class Preprocessing:
    """A model's input: resize, centre crop, normalise.

    `resize` is None (leave alone), an int (shorter side) or (height, width); `crop` is (height,
    width) or None; `mean` and `std` are per channel, so their length is the channel count (1 or 3).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"

    def describe(self) -> dict[str, Any]:
        """A JSON-ready dict: equal for equal preprocessing, stored as provenance."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def of(cls, stated: object, where: str) -> Preprocessing:
        """The inverse of `describe`; InputError that names `where` for anything else.

        Only `mean` and `std` must be there; a `crop` of one number is a square.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(stated, dict) or not {"mean", "std"} <= set(stated) <= set(names):
            raise _unfit(where, f"an object with {', '.join(names)}", stated)
        mean, std = (_numbers(stated[key], key, where) for key in ("mean", "std"))
        if len(mean) not in (1, 3) or len(std) != len(mean) or min(std) <= 0:
            raise _unfit(where, "1 or 3 means and as many positive std", [mean, std])
        interpolation = stated.get("interpolation", cls.interpolation)
        if interpolation not in INTERPOLATIONS:
            raise _unfit(where, f"interpolation {' or '.join(INTERPOLATIONS)}", interpolation)
        resize, crop = (_sides(stated.get(key), key, where) for key in ("resize", "crop"))
        crop = (crop, crop) if isinstance(crop, int) else crop
        return cls(mean, std, resize, crop, interpolation)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of what a model gets, None where that is the picture's own."""
        return self.crop or (self.resize if isinstance(self.resize, tuple) else None)

    def pixels(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] or grey [H, W] → uint8 [C, h, w]."""
        picture = _with_channels(picture, len(self.mean))
        if self.resize is not None:
            picture = _resized(picture, self.resize, self.interpolation)
        if self.crop is not None:
            picture = _centre_crop(picture, self.crop)
        return np.ascontiguousarray(picture.transpose(2, 0, 1))

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 [B, C, h, w] → float32 on the same device, as ToTensor then Normalize give it."""
        import torch

        mean, std = (_resident(values, batch.device) for values in (self.mean, self.std))
        return batch.to(torch.float32).div_(255).sub_(mean).div_(std)

    def normalise_array(self, batch: np.ndarray) -> np.ndarray:
        """`normalise` by numpy, bit for bit."""
        mean, std = np.array([self.mean, self.std], np.float32)[:, :, None, None]
        whole = batch.astype(np.float32)
        whole /= 255
        whole -= mean
        whole /= std
        return whole


def _unfit(where: str, wanted: str, found: object) -> InputError:
    return InputError(f"the preprocessing in {where} should be {wanted}, not {found!r:.80}")


def _numbers(found: Any, key: str, where: str) -> tuple[float, ...]:
    values = found if isinstance(found, list) else [found]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise _unfit(where, f"numbers for {key}", found)
    return tuple(float(value) for value in values)


def _sides(found: Any, key: str, where: str) -> int | tuple[int, int] | None:
    if found is None:
        return None
    values = found if isinstance(found, list) else [found]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 16_384:
            raise _unfit(where, f"pixels for {key}", found)
    if len(values) not in (1, 2):
        raise _unfit(where, f"a number or [height, width] for {key}", found)
    return (values[0], values[1]) if len(values) == 2 else int(values[0])


@lru_cache(maxsize=64)
def _resident(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """float32 [1, C, 1, 1]; made once, as each copy to a GPU waits for all that it has to do."""
    import torch

    return torch.tensor(values, dtype=torch.float32, device=device).view(1, len(values), 1, 1)


def _with_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    if picture.ndim == 2:
        return np.repeat(picture[:, :, None], channels, axis=2)
    if channels == 1:
        from PIL import Image

        return np.asarray(Image.fromarray(picture).convert("L"))[:, :, None]
    return picture


def _resized(picture: np.ndarray, to: int | tuple[int, int], interpolation: str) -> np.ndarray:
    height, width = picture.shape[:2]
    if isinstance(to, int):  # torchvision's rule: the longer side is truncated, not rounded
        short = min(height, width)
        to = (int(to * height / short), int(to * width / short))
    if (height, width) == tuple(to):
        return picture
    if to[0] * to[1] > LARGEST:
        raise InputError(
            f"a picture of {height}×{width} would become {to[0]}×{to[1]} when it is resized: "
            "leave it out"
        )
    from PIL import Image

    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    image = image.resize((to[1], to[0]), Image.Resampling[interpolation.upper()])
    return np.asarray(image).reshape(to[0], to[1], -1)


def _centre_crop(picture: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    height, width = picture.shape[:2]
    if height < crop[0] or width < crop[1]:  # torchvision pads with zeros
        top, left = max(crop[0] - height, 0) // 2, max(crop[1] - width, 0) // 2
        padded = np.zeros((max(height, crop[0]), max(width, crop[1]), picture.shape[2]), np.uint8)
        padded[top : top + height, left : left + width] = picture
        picture, (height, width) = padded, padded.shape[:2]
    top, left = round((height - crop[0]) / 2), round((width - crop[1]) / 2)
    return picture[top : top + crop[0], left : left + crop[1]]
