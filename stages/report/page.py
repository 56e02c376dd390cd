"""One HTML page, with everything in it: words, tables, the data and the script that shows them.

Knows nothing of caches and cascades. All text is escaped; the page's own content policy forbids it
to load anything.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template

from stages.notices import LAYOUT, visible

# In the order in which they build on each other.
SCRIPTS = (
    *("data.js", "cascade.js", "words.js", "drawing.js"),
    *("front.js", "curve.js", "matrix.js", "details.js", "memory.js", "page.js"),
)


@dataclass(frozen=True)
class Number:
    """An exact value and how it is shown."""

    value: float | int | str
    text: str


Cell = str | Number


@dataclass(frozen=True)
class Tile:
    """A key figure with its label, and the ends of its interval."""

    label: str
    number: Number
    interval: tuple[Number, Number]


@dataclass(frozen=True)
class PageTable:
    """`rows` have a cell for each of `head`; columns that start with a number stand right."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Page:
    """`asked` is the question that the `sentences` answer, the verdict first; `tiles` are the key
    figures, `basis` tells of which images; `notes` are warnings and remarks; `data` is what the
    script reads, as `packing.pack` gives it."""

    title: str
    asked: str
    sentences: Sequence[str]
    tiles: Sequence[Tile]
    basis: str
    tables: Sequence[PageTable]
    inputs: Sequence[PageTable]
    data: str
    notes: Sequence[str] = ()
    foot: str = ""


_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


def render(page: Page) -> str:
    """The whole document."""
    notes = "".join(f"<li>{_escaped(note)}</li>" for note in page.notes)
    return Template(_resource("page.html")).substitute(
        policy=_POLICY,
        style=_resource("page.css"),
        script="\n".join(_resource("js", name) for name in SCRIPTS),
        title=_escaped(page.title),
        asked=_escaped(page.asked),
        verdict=_words(page.sentences[0]),
        summary=_words(" ".join(page.sentences[1:])),
        tiles="".join(map(_tile, page.tiles)),
        basis=_words(page.basis),
        notes=f'<ul class="notes">{notes}</ul>' if notes else "",
        tables="\n".join(map(_table, page.tables)),
        inputs="\n".join(map(_table, page.inputs)),
        data=page.data,
        foot=_escaped(page.foot),
    )


def _table(table: PageTable) -> str:
    sides = [isinstance(cell, Number) for cell in table.rows[0]] if table.rows else []
    sides = sides or [False] * len(table.head)
    head = _cells('th scope="col"', table.head, sides)
    rows = "\n".join(f"<tr>{_cells('td', row, sides)}</tr>" for row in table.rows)
    caption = _escaped(table.caption)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption}">'
        f"<table><caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cells(tag: str, cells: Sequence[Cell], numeric: Sequence[bool]) -> str:
    end = tag.partition(" ")[0]
    return "".join(
        f"<{tag}{' class=number' * right}>{_cell(cell)}</{end}>"
        for cell, right in zip(cells, numeric, strict=True)
    )


def _cell(cell: Cell) -> str:
    return _number(cell) if isinstance(cell, Number) else _escaped(cell)


def _tile(tile: Tile) -> str:
    low, high = map(_number, tile.interval)
    return (
        f"<div><dt>{_escaped(tile.label)}</dt><dd>{_number(tile.number)}"
        f"<small>{low} to {high}</small></dd></div>"
    )


def _number(number: Number) -> str:
    return f'<data value="{_escaped(str(number.value))}">{_words(number.text)}</data>'


def _words(text: str) -> str:
    """Text with minus signs before its numbers."""
    return _escaped(re.sub(r"(?<![^\s(])-(?=\d)", "−", text))


def _escaped(text: str) -> str:
    return html.escape(visible(text, LAYOUT))


def _resource(*names: str) -> str:
    return resources.files("stages.report").joinpath(*names).read_text(encoding="utf-8")
