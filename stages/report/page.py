"""One HTML page, with everything in it: words, tables, figures and the script that draws them.

Knows nothing of caches and cascades. All text is escaped, the figures' data too; the page's own
content policy forbids it to load anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.report.charts import Figure


@dataclass(frozen=True)
class Number:
    """An exact value and how it is shown."""

    value: float | int | str
    text: str


Cell = str | Number


@dataclass(frozen=True)
class Table:
    """`rows` have a cell for each of `head`; columns that start with a number stand right."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Page:
    """`tiles` are the key figures with their labels; `notes` are warnings and remarks."""

    title: str
    summary: str
    tiles: Sequence[tuple[str, Number]]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    foot: str = ""


_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


def render(page: Page, script: str) -> str:
    """The whole document; `script` is the JavaScript that defines `vegaEmbed`."""
    if "</script" in script.lower():
        raise ValueError("the drawing script would end its own element")
    body = "\n".join(map(_section, page.sections))
    notes = "".join(f"<li>{escape(note)}</li>" for note in page.notes)
    draws = any(section.figures for section in page.sections)
    scripts = f"<script>{script}</script>\n<script>{_resource('page.js')}</script>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(page.title)}</title>
<style>{_resource("page.css")}</style>
</head>
<body>
<main>
<header>
<h1>{escape(page.title)}</h1>
<p class="summary">{escape(page.summary)}</p>
<dl class="tiles">{"".join(_tile(*tile) for tile in page.tiles)}</dl>
{f'<ul class="notes">{notes}</ul>' if notes else ""}
<noscript><p>The figures are drawn by a script; the tables need none.</p></noscript>
</header>
{body}
</main>
<footer>{escape(page.foot)}</footer>
{scripts if draws else ""}
</body>
</html>
"""


def json_in_html(value: Any) -> str:
    """JSON that no HTML parser can take for the end of its element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _section(section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    parts = [*map(_figure, section.figures), *map(_table, section.tables)]
    inner = "\n".join(parts)
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{text}\n{inner}\n</section>"


def _figure(figure: Figure) -> str:
    name = escape(figure.name)
    return (
        f'<figure><div class="scroll"><div class="chart" style="min-width:{figure.min_width}px" '
        f'data-spec="spec-{name}"></div></div>'
        f"<figcaption>{escape(figure.caption)}</figcaption>"
        f'<script type="application/json" id="spec-{name}">{json_in_html(figure.spec())}</script>'
        "</figure>"
    )


def _table(table: Table) -> str:
    sides = [isinstance(cell, Number) for cell in table.rows[0]] if table.rows else []
    sides = sides or [False] * len(table.head)
    head = _cells('th scope="col"', table.head, sides)
    rows = "\n".join(f"<tr>{_cells('td', row, sides)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{escape(table.caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cells(tag: str, cells: Sequence[Cell], numeric: Sequence[bool]) -> str:
    end = tag.partition(" ")[0]
    return "".join(
        f"<{tag}{' class=number' * right}>{_cell(cell)}</{end}>"
        for cell, right in zip(cells, numeric, strict=True)
    )


def _cell(cell: Cell) -> str:
    return _number(cell) if isinstance(cell, Number) else escape(cell)


def _tile(label: str, number: Number) -> str:
    return f"<div><dt>{escape(label)}</dt><dd>{_number(number)}</dd></div>"


def _number(number: Number) -> str:
    return f'<data value="{escape(str(number.value))}">{escape(number.text)}</data>'


def _resource(name: str) -> str:
    return resources.files("stages.report").joinpath(name).read_text(encoding="utf-8")
