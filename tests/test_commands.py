"""The table of commands: what `cascade --help` lists without importing any of them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from running import cascade
from typer.testing import CliRunner

from cascade_cli.main import HEADINGS, TABLE, app
from cascade_cli.options import grouped, option

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "cascade_cli/commands"
WORD = re.compile(r"[\w.'λ-]+\b")


def test_each_file_is_a_command():
    names = {path.stem for path in ROOM.glob("*.py") if path.stem != "__init__"}
    assert {name.replace("-", "_") for name in TABLE} - names == {"import"}
    assert len(names) == len(TABLE)
    for name in TABLE:
        assert callable(typer.main.get_command(app).commands[name].callback)


@pytest.mark.parametrize("name", TABLE)
def test_a_line_says_what_the_command_says_in_fewer_words(name):
    first = iter(WORD.findall(typer.main.get_command(app).commands[name].help.split("\n\n")[0]))
    assert [word for word in WORD.findall(TABLE[name]) if word not in first] == []


def test_the_overview_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = cascade("--help").out
    assert max(map(len, shown.splitlines())) <= 80
    listed = [line.split()[0] for line in shown[shown.index("Data:") :].splitlines() if line]
    assert listed == [
        word for heading, names in HEADINGS.items() for word in (f"{heading}:", *names)
    ]


def test_only_the_command_that_runs_is_imported():
    code = "import sys; from cascade_cli.main import main; sys.argv[1:] = ['cache', 'gc', '-h']\n"
    code += "try:\n    main()\nfinally:\n    print(*(m for m in sys.modules if '.commands.' in m))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "cascade_cli.commands.cache"


def test_a_slip_is_answered_with_the_nearest():
    assert "'treshold'. Did you mean 'threshold'" in cascade("treshold").refusal


@dataclass(frozen=True)
class Size:
    width: int = option(1, "How wide.", "-w")
    height: int = option(2, "How high.", min=0)
    depth: int = 3
    flat: bool = option(False, "Whether it lies.")


def test_a_group_is_flat_on_the_command_line_and_whole_in_python():
    seen = []

    def command(
        context: typer.Context, size: Size, name: str = option("a", "Whose.", "-n")
    ) -> None:
        seen.append((size, name, dict(context.params)))

    alone = typer.Typer()
    alone.command()(grouped("height name width", height="Above ground.")(command))
    shown = CliRunner().invoke(alone, ["--help"]).output
    assert shown.index("--height") < shown.index("--name") < shown.index("--width")
    assert not {"--depth", "--flat"} & set(shown.split())
    assert "Above ground." in shown
    assert "How high." not in shown
    assert CliRunner().invoke(alone, ["-w", "5"]).exit_code == 0
    assert seen == [(Size(width=5), "a", {"height": 2, "name": "a", "width": 5})]
    rest = typer.Typer()
    rest.command()(grouped("name width size")(command))
    assert CliRunner().invoke(rest, ["--flat", "-n", "b"]).exit_code == 0
    assert seen[1][:2] == (Size(flat=True), "b")
    for wrong in ("height width", "name depth", "name name", "name nothing"):
        with pytest.raises(TypeError, match="in its order or options"):
            grouped(wrong)(command)
    with pytest.raises(TypeError, match="in its order or options"):
        grouped("name", width="It is not shown.")(command)

    def twice(size: Size, other: Size) -> None: ...

    with pytest.raises(TypeError, match="in its order or options"):
        grouped("width")(twice)
