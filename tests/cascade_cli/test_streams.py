"""Closed and full streams, a directory that is gone, Ctrl-C during imports, text that moves a
cursor: in processes of their own."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
from helpers import make_cache
from running import ROOT, cascade

from cascade_cli.show.streams import guarded
from cascade_cli.show.text import print_json, print_table, print_text, say
from stages.notices import all_visible, tell_once, visible
from stages.report import packing, page

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
ENTRY = f"{sys.executable} -c 'from cascade_cli.entry import main; main()'"
ESCAPE, OVERRIDE, ISOLATE = "\x1b[31m", "\u202e", "\u2066"


def shell(words, cwd, before="", **more):
    """`cascade WORDS`, redirections among them, by a shell, after the commands `before`."""
    return subprocess.run(
        ["sh", "-c", f"{before}\nexec {ENTRY} {words}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | more,
        check=False,
        timeout=60,
    )


# --- closed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["models >&-", "--help >&- <&-"])
def test_a_closed_stdout_is_told_before_the_work(tmp_path, words):
    done = shell(words, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "cascade: stdout is closed: open it, or send it somewhere, as >answer.txt\n"
    )


@pytest.mark.parametrize(
    ("words", "status"),
    [("models --json 2>&-", 0), ("modls 2>&-", 2), ("models >&- 2>&-", 2), ("modls 2>&- <&-", 2)],
)
def test_a_closed_stderr_changes_no_answer(tmp_path, words, status):
    done = shell(words, tmp_path)
    assert (done.returncode, done.stderr) == (status, "")
    if status:
        assert done.stdout == ""
    else:
        empty = tmp_path / "artifacts"  # what the command looks into, and not what lies in a clone
        assert json.loads(done.stdout) == cascade("models", "--json", "--cache", empty).json


def test_nobody_answers_on_a_closed_stdin(tmp_path):
    make_cache(tmp_path / "cache")
    done = shell("cache rm --model small --cache cache <&-", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].endswith("Nobody is there to ask: give --yes")


# --- full -----------------------------------------------------------------------------------------


def _full_device(folder):
    """A scratch copy of what /dev/full is; only root makes one, and not everywhere."""
    path = folder / "full"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))
        with open(path, "wb"):
            pass
    except PermissionError:
        pytest.skip("no permission to make a device")
    return path


SHOWING = ("models --json", "--help", "score --help", "cache ls --cache .")


@pytest.mark.parametrize("words", SHOWING)
def test_a_full_stdout(tmp_path, words):
    _full_device(tmp_path)
    done = shell(f"{words} >full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "cascade: cannot write to stdout: No space left on device"
    )
    assert "Traceback" not in done.stderr


def test_a_stdout_that_may_not_grow(tmp_path):
    done = shell("models >out", tmp_path, "ulimit -f 0; trap '' XFSZ")
    assert (done.returncode, done.stderr) == (
        2,
        "cascade: cannot write to stdout: File too large\n",
    )


def test_a_stdout_that_is_open_for_reading(tmp_path):
    (tmp_path / "in").touch()
    done = shell("models 1<in", tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "cascade: cannot write to stdout: Bad file descriptor\n",
    )


@pytest.mark.parametrize(("words", "status"), [("models --json", 0), ("modls", 2)])
def test_a_full_stderr_changes_no_answer(tmp_path, words, status):
    _full_device(tmp_path)
    done = shell(f"{words} 2>full", tmp_path)
    assert (done.returncode, bool(done.stdout)) == (status, status == 0)


# --- a directory that is gone ---------------------------------------------------------------------


@pytest.mark.parametrize("words", ["models", "cache ls --cache /nowhere"])
def test_a_working_directory_that_is_gone(tmp_path, words):
    done = shell(words, tmp_path, "mkdir gone; cd gone; rmdir ../gone")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("cascade: the working directory is gone: change to one that is there\n")


@pytest.mark.parametrize("words", ["--version", "", "score -h"])
def test_help_needs_no_working_directory(tmp_path, words):
    done = shell(words, tmp_path, "mkdir gone; cd gone; rmdir ../gone")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


# --- Ctrl-C ---------------------------------------------------------------------------------------

# Interrupted as soon as a module is asked for, where a person's Ctrl-C may fall.
WHEN = """
import os, signal, sys
class Struck:
    def find_spec(self, name, *rest):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Struck())
from cascade_cli.entry import main
main()
"""


def _struck(name, *words, **more):
    return subprocess.run(
        [sys.executable, "-c", WHEN.format(name=name), *words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
        **more,
    )


@pytest.mark.parametrize(
    "name", ["cascade_cli.main", "typer", "cascade_cli.commands.cache", "cache", "numpy"]
)
def test_ctrl_c_during_imports(tmp_path, name):
    done = _struck(name, "cache", "ls", cwd=tmp_path)
    told = "cascade: interrupted: run the same command again\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", told)


def test_ctrl_c_that_a_shell_has_ignored(tmp_path):
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    done = _struck("typer", "--version", cwd=tmp_path, preexec_fn=ignore)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_console_script_is_the_one_that_minds_ctrl_c():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '\ncascade = "cascade_cli.entry:main"\n' in text


# --- text that moves a cursor ---------------------------------------------------------------------

HIDDEN = [
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x61C, 0x200E, 0x200F, 0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
]
SEEN = "λ é 数字 한글 שלום مرحبا 🙂 e\u0301 – … ‘’ \xa0"


def test_only_what_is_hidden_is_spelt_out():
    for code in range(0x3000):
        shown = visible(chr(code))
        assert (shown != chr(code)) == (code in HIDDEN), hex(code)
        assert shown == chr(code) or ascii(chr(code))[1:-1] == shown
    assert visible(SEEN) == SEEN
    assert visible("a\nb\tc\r", "\n\t") == "a\nb\tc\\r"


@pytest.mark.parametrize("mark", [ESCAPE, OVERRIDE, ISOLATE, "\x7f", "\x9b2J", "\r", "\u200f"])
def test_nothing_printed_moves_the_cursor(mark, capsys):
    name = f"a{mark}b λ"
    tell_once.cache_clear()
    with guarded():
        print(name)
        print_text(f"{name} {name}")
        print_table([{name: name, "list": [name]}], {name: name, "list": "list"})
        say(name)
        tell_once(name)
        print(name.replace("\r", ""), file=sys.stderr)
    out, err = capsys.readouterr()
    for text, times in ((out, 6), (err, 2)):
        assert not set(map(ord, text)) & (set(HIDDEN) - {0x0A})
        assert text.count(visible(name)) >= times


def test_json_stays_equal(capsys):
    value = {f"a{OVERRIDE}": [f"{ESCAPE}\x7f\u2028\n{SEEN}"]}
    with guarded():
        print_json(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert not set(map(ord, text[:-1])) & set(HIDDEN)
    assert "λ é 数字" in text


def test_paths_in_answers_and_refusals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"c{ESCAPE}{OVERRIDE}c"
    os.mkdir(name)
    shown = cascade("cache", "ls", "--cache", name)
    assert shown.out.splitlines()[-1] == "c\\x1b[31m\\u202ec: 0 partitions, 0 bytes"
    found = cascade("cache", "ls", "--cache", name, "--json")
    assert found.json["cache"] == name
    assert OVERRIDE not in found.out
    line = cascade("cache", "ls", "--cache", f"{name}2").refusal
    assert "no cache at c\\x1b[31m\\u202ec2:" in line


def test_the_report_shows_no_hidden_text():
    name = f"<b>{ESCAPE}{OVERRIDE}x"
    shown = page.Page(
        title=name,
        asked=name,
        sentences=[name, name],
        tiles=[page.Tile(name, page.Number(1, name), (page.Number(0, "0"), page.Number(1, "1")))],
        basis=name,
        tables=[page.PageTable(name, [name], [[name]])],
        inputs=[],
        data=packing.pack(all_visible({name: [name]}), {}),
        notes=[name],
        foot=name,
    )
    text = page.render(shown)
    assert not set(map(ord, text)) & (set(HIDDEN) - {0x0A, 0x09})
    assert text.count("&lt;b&gt;\\x1b[31m\\u202ex") >= 10
    assert packing.unpack(shown.data)[0] == {visible(name): [visible(name)]}


def test_a_bar_does_not_let_hidden_text_through(monkeypatch):
    """On a terminal, where the bar itself moves the cursor."""
    from cascade_cli.show.text import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with guarded(), progress(f"a[b]{OVERRIDE}") as tell:
        tell(1, 2)
        say(f"said{OVERRIDE}{ESCAPE}")
        print(f"printed{OVERRIDE}{ESCAPE}", file=sys.stderr)
    text = terminal.getvalue()
    assert OVERRIDE not in text
    assert ESCAPE not in text.replace("\x1b[31m\x1b", "")
    assert "said\\u202e\\x1b[31m" in text
    assert "printed\\u202e\\x1b[31m" in text
    assert "a[b]\\u202e" in text
