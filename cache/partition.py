"""Where a table's partitions lie: Hive-style paths with percent-encoded values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from cache.storage import InputError, one_of

_LONGEST = 200  # percent-encoded, so that `key=value` stays below a file system's 255 bytes
_MODEL_KEYS = ("dataset", "split", "variant", "runtime", "model")
KEYS: dict[str, tuple[str, ...]] = {
    "samples": ("dataset", "split"),
    "logits": _MODEL_KEYS,
    "probabilities": _MODEL_KEYS,
    "top_k": _MODEL_KEYS,
    "answers": _MODEL_KEYS,
    "request_costs": _MODEL_KEYS,
    "timings": _MODEL_KEYS,
    "scores": _MODEL_KEYS,
    "extra_scores": (*_MODEL_KEYS, "score"),
    "top10": _MODEL_KEYS,
    "costs": ("dataset", "runtime", "model"),
    "hashes": ("dataset", "split", "variant", "algorithm"),
    "streams": ("dataset", "split", "stream"),
    "results": ("stage", "dataset", "split", "run"),
}
# What a model says of an image: scores are made from one of these.
OUTPUTS = ("logits", "probabilities", "top_k", "answers")


@dataclass(frozen=True)
class Partition:
    """One partition of one table; `path` is relative to the cache root."""

    table: str
    values: tuple[str, ...]

    @classmethod
    def of(cls, table: str, **keys: str) -> Partition:
        """Partition.of("samples", dataset="digits", split="test")."""
        if table not in KEYS:
            raise one_of("table", table, KEYS)
        return cls(table, tuple(checked_name(key, keys[key]) for key in KEYS[table]))

    @classmethod
    def parse(cls, path: str) -> Partition:
        """The inverse of `path`; ValueError for a path that is no partition's."""
        table, *segments = path.split("/")
        values = [unquote(segment.partition("=")[2] or segment) for segment in segments]
        try:
            found = cls.of(table, **dict(zip(KEYS.get(table, ()), values, strict=True)))
        except InputError as error:
            raise ValueError(str(error)) from error
        if found.path != path:
            raise ValueError(f"{path!r} is no partition's path")
        return found

    @classmethod
    @lru_cache  # many files of one folder are asked for one after the other
    def at(cls, path: str) -> Partition | None:
        """As `parse`; None for a path that is no partition's."""
        try:
            return cls.parse(path)
        except ValueError:
            return None

    @property
    def keys(self) -> dict[str, str]:
        return dict(zip(KEYS[self.table], self.values, strict=True))

    @property
    def path(self) -> str:
        return "/".join([self.table, *path_segments(self.table, self.values)])

    @property
    def logits(self) -> Partition:
        """The logits of the same model and images; of a table that is made from them."""
        return Partition("logits", self.values[: len(_MODEL_KEYS)])

    @property
    def outputs(self) -> tuple[Partition, ...]:
        """Where that may lie which scores of this model and these images are made from."""
        return tuple(Partition(table, self.values[: len(_MODEL_KEYS)]) for table in OUTPUTS)

    @property
    def guard(self) -> str:
        """The name whose lock covers it (cache.locks): timings are written with their logits."""
        table = "logits" if self.table == "timings" else self.table
        return Partition(table, self.values).path

    def __str__(self) -> str:
        return f"{self.table} of {', '.join(f'{k} {v}' for k, v in self.keys.items())}"


def path_segments(table: str, values: tuple[str, ...]) -> list[str]:
    """`key=value` for as many leading keys as there are values; a result's stage stands bare."""
    pairs = zip(KEYS[table], values, strict=False)
    return [
        quote(value, safe="") if key == "stage" else f"{key}={quote(value, safe='')}"
        for key, value in pairs
    ]


def checked_name(what: str, value: str) -> str:
    """A name fit for a path segment, or an InputError."""
    if not value or not value.isprintable() or len(quote(value, safe="")) > _LONGEST:
        raise InputError(f"{what} {value[:40]!r} is no usable name: give a short, printable one")
    if value.startswith("/") or ".." in value or "\\" in value or value == ".":
        raise InputError(f"{what} {value!r} looks like a path: give a plain name")
    return value
