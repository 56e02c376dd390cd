"""Packages that are installed for one test: modules and their metadata in a folder on the path."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages import plugins
from stages.datasets import spec

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@contextmanager
def installed(
    root: Path,
    modules: Mapping[str, str],
    entries: Mapping[str, Mapping[str, str]],
    name: str = "added-one",
    version: str = "1.0",
) -> Iterator[Path]:
    """A package of these modules (name → code) and entry points (group → {name: value})."""
    site = root / f"{name}-{version}"
    about = site / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    for module, code in modules.items():
        (site / f"{module}.py").write_text(code, encoding="utf-8")
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (about / "METADATA").write_text(metadata)
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        for group, values in entries.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(groups))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        _forget(modules)
        try:
            yield site
        finally:
            _forget(modules)
    plugins.loaded.cache_clear()


def _forget(modules: Mapping[str, str]) -> None:
    plugins.loaded.cache_clear()
    spec.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)


def documented() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Modules and entry points of docs/extending.md, by the names that stand there."""
    text = PAGE.read_text(encoding="utf-8")
    code = re.findall(r"^`(\w+)\.py`.*?^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    groups = re.findall(r'entry-points\."([\w.]+)"\]\n([\w-]+) = "(.+)"\n', text)
    return dict(code), {group: {key: value} for group, key, value in groups}
