"""Runs what README.md and docs/ tell a reader to run, and holds what they state against the code.

Every line of an `sh` block goes through RUNNERS; a line that none of them knows fails.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import typer
from running import DIGITS, IMAGES, WEIGHTS, cascade, make, slice_of

from cascade_cli.inputs import settings
from stages.models import get

ROOT = Path(__file__).parents[1]
PAGES = (
    *("README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/commands.md", "docs/configuration.md"),
    *("docs/original.md", "docs/cache.md", "docs/memory.md", "docs/methods.md", "docs/report.md"),
    *("docs/deploy.md", "docs/results-cifar10.md", "docs/reproduce.md", "docs/comparison.md"),
    *("docs/python.md", "docs/results-imagenet.md"),
)
GUIDE = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
ORIGINAL = (ROOT / "docs/original.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
RUNNABLE = ("sh", "bash", "python")
# A command with one of these words reads the images and weights that lie beside the repository.
SHARED = {"cifar10", "images", "resnet20"}
# Its weights are gigabytes, and nobody may pass its images on.
NEEDS_NETWORK = {"--download", "imagenet"}
# To keep the minute: one request after the other takes long.
ADDED = {"live": ["--limit", "20"]}
# Targets that run no `cascade`, by what they run instead.
OTHER_TARGETS = {
    "install": "pip install",
    "test": "-m pytest",
    "lint": "mypy",
    "study": "-m examples.study",
}
TABLES = (
    *("samples", "logits", "timings", "scores", "costs"),
    *("results/threshold", "results/search", "results/simulate", "results/heterogeneity"),
    *("results/rules", "results/calibrate", "results/reliability"),
    *("results/predictors", "results/gains"),
)
EXTRA = re.compile(r"(?:\.|cascade-cli)\[([\w,]+)\]")


@dataclass(frozen=True)
class Section:
    page: str
    title: str
    text: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        return FENCE.findall(self.text)

    @property
    def runs(self) -> bool:
        return any(kind in RUNNABLE for kind, _ in self.blocks)


def sections(page: str) -> list[Section]:
    """What stands under each `## ` heading."""
    _, *parts = re.split(r"^## ", (ROOT / page).read_text(encoding="utf-8"), flags=re.M)
    return [Section(page, *part.split("\n", 1)) for part in parts]


SECTIONS = {f"{s.page}: {s.title}": s for page in PAGES for s in sections(page)}
RUN = [name for name, section in SECTIONS.items() if section.runs]


def section(title: str, page: str = "README.md") -> Section:
    return SECTIONS[f"{page}: {title}"]


# --- where the commands run ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the digits' cache, a reader's own logits, and a slice of CIFAR-10 if there."""
    folder = tmp_path_factory.mktemp("desk")
    assert cascade("extract", "--cache", folder / "artifacts").status == 0
    rng = np.random.default_rng(0)
    for split in ("val", "test"):
        labels = rng.integers(0, 5, 200)
        np.save(folder / f"{split}_labels.npy", labels)
        for model, skill in (("small", 1.5), ("large", 2.5)):
            logits = rng.standard_normal((200, 5)).astype(np.float32)
            logits[np.arange(200), labels] += skill
            np.save(folder / f"{split}_{model}.npy", logits)
    costs = [f"{name},nano,1,{ms}" for name, ms in zip(DIGITS, (1.1, 2.4, 1.6, 4.9), strict=True)]
    (folder / "nano.csv").write_text("\n".join(["model,device,batch_size,latency_ms", *costs]))
    if IMAGES.is_dir() and WEIGHTS.is_dir():
        for split in ("test", "val", "train"):
            slice_of(split, 12, folder / "images")
        shutil.copytree(WEIGHTS, folder / "weights")
    return folder


@pytest.fixture
def at_desk(desk, monkeypatch):
    monkeypatch.chdir(desk)
    monkeypatch.delenv("CASCADE_CACHE", raising=False)
    return desk


# --- how each kind of command is run -------------------------------------------------------------


class NeedsImagesError(Exception):
    """The command needs CIFAR-10 images and weights, which are not there."""


def run_cascade(words: list[str]) -> None:
    if NEEDS_NETWORK.intersection(words):
        check_flags(words)
        return
    check_images(words)
    done = cascade(*words[1:], *ADDED.get(words[1], []))
    assert done.status == 0, f"{shlex.join(words)}: {done.err}"
    assert done.out, f"{shlex.join(words)} prints nothing"


def check_images(words: list[str]) -> None:
    if SHARED.intersection(re.split(r"[\s,=:/]", " ".join(words))) and not Path("images").exists():
        raise NeedsImagesError


def run_module(words: list[str]) -> None:
    """An example, run; of other modules an installation: python -m venv … && pip install …"""
    if not words[2].startswith("examples."):
        check_install(words)
        return
    check_images(words)
    main = importlib.import_module(f"{words[2]}.__main__").main
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(words[3:]) == 0
    assert out.getvalue(), f"{shlex.join(words)} prints nothing"


def check_flags(words: list[str]) -> None:
    """A command that cannot run here still uses flags and models that exist."""
    given = [word for word in words[2:] if word.startswith("-")]
    assert set(given) <= flags_of(words[1]), shlex.join(words)
    for name in words[words.index("--models") + 1].split(","):
        assert name == "all" or name.startswith("file:") or get(name).name == name


def run_make(words: list[str]) -> None:
    """What `make` would run, run: the recipe's `cascade` here, an installation not at all."""
    recipe = dry_run(words[1:])
    told = [line for line in recipe.splitlines() if re.match(r"\S*/bin/cascade ", line)]
    for line in told:
        run_cascade(["cascade", *shlex.split(line)[1:]])
    if not told:
        assert OTHER_TARGETS[words[1]] in recipe


def dry_run(arguments: list[str]) -> str:
    done = make(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_install(words: list[str]) -> None:
    """Not installed here: the extras named must exist, and a command behind them must run."""
    text = " ".join(words)
    wanted = [name for found in EXTRA.findall(text) for name in found.split(",")]
    assert wanted, f"{text} installs no extra"
    assert set(wanted) <= extras()
    if "cascade" in words:
        run_cascade(words[words.index("cascade") :])


def extras() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    return set(re.findall(r"^(\w+) = \[", table, re.M))


RUNNERS: dict[str, Callable[[list[str]], None]] = {
    "cascade": run_cascade,
    "make": run_make,
    "pipx": check_install,
    "python": run_module,
    "uvx": check_install,
}


def run_line(line: str) -> None:
    words = shlex.split(line)
    assert words[0] in RUNNERS, f"{line!r} is of no kind this test knows: add it to RUNNERS"
    RUNNERS[words[0]](words)


def run_python(code: str) -> dict[str, object]:
    """What the code defines; each block has a path and a policy of its own."""
    space: dict[str, object] = {}
    path = mock.patch.object(sys, "path", [*sys.path])
    sys.modules.pop("cascade_policy", None)
    with path, contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "README.md", "exec"), space)
    return space


# --- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUN)
def test_every_command_runs(name, at_desk):
    left = []
    for kind, text in SECTIONS[name].blocks:
        if kind == "python":
            run_python(text)
        elif kind in RUNNABLE:
            for line in text.splitlines():
                try:
                    run_line(line)
                except NeedsImagesError:
                    left.append(line)
    if left:
        pytest.skip(f"no images and weights in {IMAGES.parent}: {len(left)} commands not run")


def test_no_block_escapes():
    """Other kinds are shown, not run (pycon by test_python_docs); what is to be run stands under a
    heading; fences are even."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        kinds = [kind for kind, _ in FENCE.findall(text)]
        assert set(kinds) <= {*RUNNABLE, "pycon", "text", "json", "javascript", "cpp"}
        assert len(re.findall(r"^```", text, re.M)) == 2 * len(kinds)
        found = [kind for s in SECTIONS.values() if s.page == page for kind, _ in s.blocks]
        assert sum(map(found.count, RUNNABLE)) == sum(map(kinds.count, RUNNABLE))


@pytest.mark.parametrize("line", ["rm -rf /", "pip install cascade-cli", "curl https://a.b"])
def test_unknown_command_fails(line):
    with pytest.raises(AssertionError, match="no kind this test knows"):
        run_line(line)


@pytest.mark.parametrize(
    "line", ["cascade extract --no-such-flag", "make no-such-target", "pipx install '.[gpu]'"]
)
def test_wrong_command_fails(line, at_desk):
    with pytest.raises(AssertionError):
        run_line(line)


def test_shown_digits_are_what_extract_gives(at_desk):
    shown = re.findall(r"^(digits_\w+) +(\w+) +(\d+) .* ([\d.]+)%$", GUIDE, re.M)
    found = cascade("extract", "--json").json["models"]
    assert sorted(shown) == sorted(
        (row["model"], row["split"], str(row["rows"]), f"{row['accuracy']:.2%}"[:-1])
        for row in found
    )


def test_shown_simulation_is_what_simulate_prints(tmp_path):
    """Every line shown is printed (… is a gap); λ without the digits that float noise reaches."""
    [shown] = [b for k, b in section("Two commands").blocks if k == "text" and "use of B" in b]
    fresh = ("--cache", tmp_path)
    assert cascade("extract", *fresh).status == 0
    asked = ("-m1", "digits_separable", "-m2", "digits_residual", "--cost", "macs")
    found = cascade("simulate", *asked, *fresh).out

    def lines(text):
        text = re.sub(r"(λ = 0\.\d{4})\d*", r"\1", text)
        return [line for line in text.splitlines() if line.strip() != "…"]

    assert [line for line in lines(found) if line in lines(shown)] == lines(shown)


def test_shown_answer_is_what_search_prints(at_desk):
    """As far as it is shown."""
    [shown] = [b for k, b in section("Two commands").blocks if k == "text" and "WORTH IT" in b]
    asked = ("search", "-d", "digits", "--within", "0.02", "--cost", "macs")
    told = " ".join(cascade(*asked).out.split())
    assert told.startswith(" ".join(shown.split()).removesuffix("…").strip())


def test_the_questions_of_the_table_are_answered(at_desk):
    lines = re.findall(r"`(cascade [^`]+)`", section("What it answers").text)
    assert len(lines) > 10
    for line in lines:
        run_line(line)


def test_every_reader_finds_the_same_accuracy(at_desk):
    rows = cascade("score", "-d", "digits", "--split", "test", "--json").json["models"]
    expected = {row["model"]: pytest.approx(row["accuracy"]) for row in rows}
    codes = [
        text
        for kind, text in section("Reading the cache", "docs/guide.md").blocks
        if kind == "python"
    ]
    assert len(codes) == 3
    for code in codes:
        found = run_python(code)["accuracy"]
        if not isinstance(found, list):
            found = found.items() if hasattr(found, "items") else found.rows()
        assert dict(found) == expected


def test_table_names_every_command_and_target():
    text = section("Stages", "docs/guide.md").text
    rows = re.findall(r"^\| `cascade ([\w-]+)` \|", text, re.M)
    assert sorted(rows) == sorted({name.split()[0] for name in commands()})
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M)
    named = set(re.findall(r"`make ([a-z-]+)`", text))
    assert named | {"test"} == set(targets)
    assert "`make test`" in section("Two commands").text


def commands() -> list[str]:
    """Every command, those of a group as `cache ls`."""
    from cascade_cli.main import app

    return list(settings.commands(typer.main.get_command(app)))


def flags_of(command: str) -> set[str]:
    helped = cascade(*command.split(), "--help")
    assert helped.status == 0, command
    options = helped.out.split("Options:")[1]
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", options))


FLAG_TABLE = re.compile(r"^\| `(\w+\.py)` \| `cascade (\w+)` \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.M)


@pytest.mark.parametrize("script", ["main.py", "threshold.py", "heterogeneity.py"])
def test_flags_of_the_original_scripts(script):
    tables = {name: (command, rows) for name, command, rows in FLAG_TABLE.findall(ORIGINAL)}
    command, rows = tables[script]
    there = flags_of(command)
    for row in rows.splitlines():
        _, old, new, _, _ = row.split("|")
        flags = re.findall(r"`(-[\w-]+)`", old)
        assert len(flags) == 2, row
        if new.strip() == "not there yet":
            assert flags[1] not in there, f"{flags[1]} is there now: say so in README"
        else:
            assert re.findall(r"`(-[\w-]+)`", new) == flags
            assert set(flags) <= there, row


def test_every_flag_in_the_text_exists():
    there = set().union(*map(flags_of, commands()))
    for page in PAGES:
        text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
        rows = [line for line in text.splitlines() if "not there yet" not in line]
        spans = re.findall(r"`([^`]+)`", "\n".join(rows))
        flags = {span.split()[0] for span in spans if span.startswith("-")}
        assert flags <= there, page


def test_tree_lists_every_folder():
    [(_, tree)] = section("The tree", "CONTRIBUTING.md").blocks
    listed = re.findall(r"^(\.?\w+)/ ", tree, re.M)
    git = ["git", "-C", str(ROOT), "ls-files"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: what belongs to the tree is unknown")
    tracked = {name.split("/")[0] for name in done.stdout.splitlines() if "/" in name}
    assert tracked == set(listed) - {"artifacts"}
    for parent, below in re.findall(r"^(\w+)/ .*\n((?:  .*\n)+)", tree, re.M):
        inside = set(re.findall(r"^  (\w\S*)", below, re.M))
        folders = {f"{face.parent.name}/" for face in (ROOT / parent).glob("*/__init__.py")}
        assert {each for each in inside if each.endswith("/")} == folders
        assert all((ROOT / parent / each).exists() for each in inside)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target


def test_cache_page_has_every_column(at_desk):
    """Every column of every file that is written, under its table's heading."""
    import pyarrow.parquet as pq

    pair = ("-m1", "digits_wide", "-m2", "digits_residual")
    for command in (("threshold", *pair), ("simulate", *pair), ("rules", *pair)):
        assert cascade(*command).status == 0
    for command in (("search",), ("heterogeneity",), ("heterogeneity", "--predict")):
        assert cascade(*command, "-d", "digits").status == 0
    assert cascade("calibrate", "-d", "digits").status == 0
    assert cascade("import-costs", "nano.csv", "--source", "a test").status == 0
    text = SECTIONS["docs/cache.md: Columns"].text
    chunks = re.split(r"^\*\*", text, flags=re.M)[1:]
    for table in TABLES:
        about = "".join(chunk for chunk in chunks if f"{table}**" in chunk)
        named = set(re.findall(r"`(\w+)`", about))
        files = sorted(Path("artifacts", table).rglob("*.parquet"))
        assert files, table
        for file in files:
            names = set(pq.ParquetFile(file).schema_arrow.names)
            assert names - {"split"} <= named, table


def test_cache_page_has_every_table_and_key():
    from cache import KEYS

    text = (ROOT / "docs/cache.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"^\| `(\w+)` \|", SECTIONS["docs/cache.md: Keys"].text, re.M))
    assert keys == {key for keys in KEYS.values() for key in keys}
    for table, names in KEYS.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"{table}/")]
        assert re.findall(r"(\w+)=", line) == [name for name in names if name != "stage"]


@pytest.mark.parametrize("group", ["", "cache"])
def test_no_command_is_cut_short_in_the_overview(group):
    shown = re.split(r"(?:Commands|Data):\n", cascade(*group.split(), "--help").out)[1].splitlines()
    shown = [line for line in shown if line.startswith(" ")]  # and no heading
    inner = {name.removeprefix(f"{group} ").split()[0] for name in commands() if group in name}
    assert {line.split()[0] for line in shown} == inner - {group}
    assert len(shown) == len(inner - {group})
    assert not [line for line in shown if not line.endswith(".") or line.endswith("..")]


def test_commands_page_is_what_the_commands_say():
    from tools.command_docs import page

    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == page(), "run `make docs`"
    assert re.findall(r"^## cascade (.*)$", page(), re.M) == commands()


def test_citation_names_this_version_and_the_paper():
    import yaml

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{cited["version"]}"' in project
    assert cited["license"] == "Apache-2.0"
    assert f"doi.org/{cited['references'][0]['doi']}" in (ROOT / "README.md").read_text("utf-8")


def test_licence_is_the_stated_one():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
