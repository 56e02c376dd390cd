"""A file or folder that a command wrote, as JSON small enough to be held against a golden file.

Clocks, versions and digests are left out. A column of a table stands whole where it is short, else
as its sums: they show any change and do not hang on a processor's last digit.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import tomllib

import pyarrow.parquet as pq

# What differs from run to run, or from one version of the program to the next.
LEFT_OUT = {"seconds", "made", "sha256", "version", "versions", "changed", "size_bytes", "bytes"}
WHOLE = 12  # values of a column
UNSTEADY = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([+]00:00| UTC|Z)?"), "TIME"),
    (re.compile(r"(cascade-cli\s+)\d+\.\d+\.\d+"), r"\1VERSION"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
)


def lasting(value):
    """JSON without what lasts no longer than a run."""
    if isinstance(value, dict):
        return {key: lasting(item) for key, item in value.items() if key not in LEFT_OUT}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def steady(text):
    for pattern, word in UNSTEADY:
        text = pattern.sub(word, text)
    return text


def content(path):
    """Of a file what its kind makes readable, of a folder that of each file in it."""
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        return {each.relative_to(path).as_posix(): content(each) for each in files}
    return READERS.get(path.suffix, _text)(path)


def _text(path):
    return steady(path.read_text(encoding="utf-8")).splitlines()


def _program(path):
    """A digest: the text stands in the product."""
    return _digest(_text(path))


def _toml(path):
    return lasting(tomllib.loads(path.read_text(encoding="utf-8")))


def _json(path):
    return lasting(json.loads(path.read_text(encoding="utf-8")))


def _csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    columns = zip(*rows, strict=True) if rows else [()] * len(head)
    return {name: column([*map(_number, each)]) for name, each in zip(head, columns, strict=True)}


def _number(cell):
    try:
        return float(cell) if re.search("[.e]", cell) else int(cell)
    except ValueError:
        return cell


def _parquet(path):
    table = pq.read_table(path, partitioning=None)
    columns = zip(table.schema, table.columns, strict=True)
    return {f"{field.name}: {field.type}": column(each.to_pylist()) for field, each in columns}


def _page(path):
    """The words of the page, and the facts and arrays that its script reads."""
    from stages.report.packing import unpack

    page = path.read_text(encoding="utf-8")
    data = re.search('<script type="text/plain" id="data">(.*?)</script>', page, re.S)[1]
    facts, arrays = unpack(data)
    words = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>", "\n", page)
    return {
        "words": [line.strip() for line in steady(words).splitlines() if line.strip()],
        "facts": lasting(facts),
        "arrays": {name: [str(a.dtype), column(a.tolist())] for name, a in arrays.items()},
    }


READERS = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".toml": _toml,
    ".json": _json,
    ".html": _page,
    ".py": _program,
}


def column(values):
    """The values, where many their number and digest, or for fractions their sums."""
    if len(values) <= WHOLE:
        return values
    flat = [each for row in values for each in (row if isinstance(row, list) else [row])]
    fractions = [each for each in flat if isinstance(each, float) and math.isfinite(each)]
    rest = [each for each in flat if not (isinstance(each, float) and math.isfinite(each))]
    about = {"rows": len(values), "digest": _digest(rest)}
    if fractions:
        sides = [each * (1 + i % 97) for i, each in enumerate(fractions)]
        about |= {"sum": math.fsum(fractions), "weighted": math.fsum(sides)}
    return about


def _digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
