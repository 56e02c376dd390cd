"""`cascade cache`: what a cache holds, whether it is sound, what may go, and joining several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import asking
from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from cache import Manifest, Partition, Store
    from cache.merge import Outcome
    from cache.removal import Going
    from cache.survey import Selection

_COLUMNS = {
    "table": "table",
    "keys": "keys",
    "rows": "rows:,d",
    "parts": "parts:,d",
    "size_bytes": "bytes:,d",
}


def _of(what: str) -> Any:
    return typer.Option(f"--{what}", help=f"Only of these {what}s, separated by commas.")


Table = Annotated[str | None, _of("table")]
Dataset = Annotated[
    str | None, typer.Option("-d", "--dataset", help="Only of these datasets, likewise.")
]
Split = Annotated[str | None, _of("split")]
Variant = Annotated[str | None, _of("variant")]
Runtime = Annotated[str | None, _of("runtime")]
Model = Annotated[str | None, _of("model")]
Score = Annotated[str | None, typer.Option("--score", help="Only of these added scores.")]
Algorithm = Annotated[str | None, typer.Option("--algorithm", help="Only of these hashes.")]
Stage = Annotated[str | None, typer.Option("--stage", help="Only results of these stages.")]
Run = Annotated[str | None, typer.Option("--run", help="Only these results, by their digest.")]
Stream = Annotated[str | None, typer.Option("--stream", help="Only these streams, likewise.")]

app = typer.Typer(
    help="See what a cache holds, check it, remove from it, join several into one.\n\n"
    "\b\ncascade cache verify --cache artifacts",
    short_help="See what a cache holds, check it, remove from it, merge.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


SHORT = {
    "ls": "List the partitions, unfinished ones too.",
    "verify": "Read every part again; exit 2 where one is damaged.",
    "rm": "Remove partitions, and what is about them.",
    "gc": "Remove what no reader and no later run would use.",
    "merge": "Copy into --cache what other caches hold.",
}


def register(parent: typer.Typer) -> None:
    for command in (ls, verify, rm, gc, merge):
        name = command.__name__
        app.command(name, short_help=SHORT[name])(command)
    parent.add_typer(app, name="cache")


def ls(
    table: Table = None,
    dataset: Dataset = None,
    split: Split = None,
    variant: Variant = None,
    runtime: Runtime = None,
    model: Model = None,
    score: Score = None,
    algorithm: Algorithm = None,
    stage: Stage = None,
    run: Run = None,
    stream: Stream = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """List the partitions, unfinished ones too, with the parts that are there.

    \b
    cascade cache ls --table logits -d digits
    """
    from cache.survey import survey
    from stages.telling import unfinished_copy

    store = _opened(cache)
    keys = _keys(split, variant, runtime, model, score, algorithm, stage, run, stream)
    seen = survey(store, _selection(table, dataset, keys))
    unfinished_copy(store)
    rows = [_complete(manifest) for manifest in seen.complete]
    rows += [_row(place, f"the manifest {what}") for place, what in seen.damaged]
    for each in seen.unfinished:
        parts = [receipt.part for receipt in each.receipts]
        rows.append(_row(each.partition, "unfinished") | _sums(parts))
    size = sum(row["size_bytes"] or 0 for row in rows)
    if as_json:
        print_json({"cache": store.root, "partitions": rows, "size_bytes": size})
        return
    print_table([row | {"keys": _short(row)} for row in rows], _COLUMNS | _STATE)
    print(f"{store.root}: {_number(rows, 'partition')}, {size:,d} bytes")


_STATE = {"made": "made", "state": "state"}


def verify(
    table: Table = None,
    dataset: Dataset = None,
    split: Split = None,
    variant: Variant = None,
    runtime: Runtime = None,
    model: Model = None,
    score: Score = None,
    algorithm: Algorithm = None,
    stage: Stage = None,
    run: Run = None,
    stream: Stream = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Read every part again and hold it against its manifest; exit 2 where one is damaged.

    \b
    cascade cache verify -d digits
    """
    from cache.verify import verify as check
    from cascade_cli.mending import mending, remedy

    store = _opened(cache)
    keys = _keys(split, variant, runtime, model, score, algorithm, stage, run, stream)
    with progress("verify: bytes") as tell:
        report = check(store, _selection(table, dataset, keys), tell)
    commands = [mending(store, each) for each in report.damage]
    damaged = [
        {"path": each.path, "what": each.what, "command": command, "remedy": remedy(command)}
        for each, command in zip(report.damage, commands, strict=True)
    ]
    found = {
        "cache": store.root,
        "partitions": len(report.survey.complete),
        "parts": report.parts,
        "rows": report.rows,
        "size_bytes": report.size_bytes,
        "damaged": damaged,
        "strays": [entry.path for entry in report.survey.strays],
        "unfinished": [each.partition.path for each in report.survey.unfinished],
        "unfinished_copy": report.survey.unfinished_copy,
    }
    if as_json:
        print_json(found)
    else:
        _print_report(found)
    if damaged or report.survey.unfinished_copy is not None:
        raise typer.Exit(2)


def _print_report(found: dict[str, Any]) -> None:
    from cache.copy_marker import MARKER, describe

    for each in found["damaged"]:
        print(f"{each['path']} {each['what']}: {each['remedy']}")
    for path in found["strays"]:
        print(f"{path}: no manifest names it (`cascade cache gc` removes it)")
    for path in found["unfinished"]:
        print(f"{path}: unfinished (the command that makes it goes on from its parts)")
    if found["unfinished_copy"] is not None:
        what = describe(found["unfinished_copy"])
        print(f"{MARKER}: an unfinished copy{what}: run its export again to finish it")
    print(
        f"{found['cache']}: {found['partitions']} partitions, {found['parts']} parts, "
        f"{found['size_bytes']:,d} bytes read; {len(found['damaged']) or 'none'} damaged"
    )


def rm(
    table: Table = None,
    dataset: Dataset = None,
    split: Split = None,
    variant: Variant = None,
    runtime: Runtime = None,
    model: Model = None,
    score: Score = None,
    algorithm: Algorithm = None,
    stage: Stage = None,
    run: Run = None,
    stream: Stream = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only those whose manifest is damaged.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Remove partitions: logits with their scores, samples with all that is about them.

    \b
    cascade cache rm --model digits_wide --runtime torch-bf16-cpu
    """
    from cache import InputError
    from cache.removal import chosen, remove

    store = _opened(cache)
    keys = _keys(split, variant, runtime, model, score, algorithm, stage, run, stream)
    selection = _selection(table, dataset, keys)
    if not selection and not damaged:
        raise InputError("nothing says what to remove: give --table, --dataset, --model …")
    going = chosen(store, selection, damaged)
    if not going:
        raise InputError(f"{store.root} has nothing of that: see `cascade cache ls`")
    rows = [_gone(each) for each in going]
    size = sum(row["size_bytes"] for row in rows)
    shown = [row | {"keys": _short(row)} for row in rows]
    if not yes:
        print_table(shown, _COLUMNS, sys.stderr)
        asking.confirm(f"remove {_number(rows, 'partition')}, {size:,d} bytes?", "give --yes")
    elif not as_json:
        print_table(shown, _COLUMNS)
    remove(store, going, say)
    if as_json:
        print_json({"cache": store.root, "removed": rows, "size_bytes": size})
        return
    print(f"{store.root}: removed {_number(rows, 'partition')}, {size:,d} bytes")


def gc(
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, help="Hours; younger files stay.")
    ] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, list it.")] = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Remove what no reader and no later run would use: half files, strays, locks of the dead.

    Parts of unfinished partitions stay for the run that goes on from them.

    \b
    cascade cache gc --older-than 24 --dry-run
    """
    from cache.removal import HOUR_S, collect

    store = _opened(cache)
    waste = collect(store, older_than * HOUR_S, dry_run)
    gone = [each for each in waste if each.kept is None]
    size = sum(each.size_bytes for each in gone)
    if as_json:
        kept = [{"path": each.path, "why": each.kept} for each in waste if each.kept]
        removed = [{"path": e.path, "why": e.why, "size_bytes": e.size_bytes} for e in gone]
        names = {"cache": store.root, "dry_run": dry_run}
        print_json(names | {"removed": removed, "kept": kept, "size_bytes": size})
        return
    for each in waste:
        print(f"{each.path}: {each.why}" + (f", but {each.kept}" if each.kept else ""))
    done = "would remove" if dry_run else "removed"
    print(f"{store.root}: {done} {_number(gone, 'file')}, {size:,d} bytes")


def merge(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Caches: folders, URIs.")],
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Copy into --cache what other caches hold, and publish what the shards have made together.

    \b
    cascade cache merge shard0 shard1 s3://bucket/shard2 --cache artifacts
    """
    from cache import Store
    from cache.merge import merge as join
    from stages.costs import merge_from

    target = Store(cache)
    opened = [_source(source, target) for source in sources]
    rows: list[dict[str, Any]] = []
    for source in opened:
        with progress(f"merge {source.root}: bytes") as tell:
            outcomes = join(target, source, {"costs": merge_from}, tell)
        rows += [{"source": source.root, **_merged(each)} for each in outcomes]
    if as_json:
        print_json({"cache": target.root, "partitions": rows})
        return
    shown = {k: v for k, v in _COLUMNS.items() if k != "rows"}
    shown = {"source": "from"} | shown | {"of": "of", "state": "state"}
    print_table([row | {"keys": _short(row)} for row in rows], shown)
    for row in _last(rows):
        if row["missing"]:
            lacking = ", ".join(map(str, row["missing"]))
            print(f"{row['table']} {_short(row)} still lacks parts {lacking}")
    print(f"{target.root}: merged {_number(opened, 'cache')}")


def _last(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How each partition stands after the last source."""
    return list({(row["table"], _short(row)): row for row in rows}.values())


def _opened(root: str | None) -> Store:
    """The cache, which must be there."""
    from cache import InputError, Store

    store = Store(root)
    if store.local and not asking.is_there(store):
        raise InputError(f"there is no cache at {store.root}: check --cache")
    return store


def _source(root: str, target: Store) -> Store:
    from cache import InputError, Store
    from stages.telling import unfinished_copy

    source = Store(root)
    if source.base == target.base and source.local == target.local:
        raise InputError(f"{root} is the cache to merge into: give another SOURCE or --cache")
    if not any(source.files(folder) for folder in ("_manifests", ".tmp/receipts")):
        raise InputError(f"{root} holds no cache: check its name")
    unfinished_copy(source)
    return source


def _keys(*given: str | None) -> dict[str, str | None]:
    names = (
        *("split", "variant", "runtime", "model", "score", "algorithm"),
        *("stage", "run", "stream"),
    )
    return dict(zip(names, given, strict=True))


def _selection(table: str | None, dataset: str | None, keys: dict[str, str | None]) -> Selection:
    from cache.survey import Selection

    named = {key: asking.names(text) for key, text in ({"dataset": dataset} | keys).items()}
    chosen = {key: tuple(names) for key, names in named.items() if names is not None}
    return Selection(tuple(asking.names(table) or ()), chosen)


def _row(partition: Partition, state: str) -> dict[str, Any]:
    empty = {"rows": None, "parts": None, "size_bytes": None, "made": None}
    return {"table": partition.table, **partition.keys, **empty, "state": state}


def _complete(manifest: Manifest) -> dict[str, Any]:
    made = manifest.provenance.get("made")
    return _row(manifest.partition, "complete") | _sums(manifest.parts) | {"made": made}


def _merged(outcome: Outcome) -> dict[str, Any]:
    partition = outcome.partition
    return {
        "table": partition.table,
        **partition.keys,
        "state": outcome.done,
        "parts": outcome.parts,
        "size_bytes": outcome.size_bytes,
        "of": outcome.count,
        "missing": outcome.missing,
    }


def _sums(parts: Sequence[Any]) -> dict[str, int]:
    rows, size = sum(part.rows for part in parts), sum(part.size_bytes for part in parts)
    return {"rows": rows, "parts": len(parts), "size_bytes": size}


def _gone(going: Going) -> dict[str, Any]:
    parts = sum(path.endswith(".parquet") for path in going.files)
    sums = {"rows": going.rows, "parts": parts, "size_bytes": going.size_bytes}
    return {"table": going.partition.table, **going.partition.keys, **sums}


def _short(row: dict[str, Any]) -> str:
    from cache.partition import KEYS

    return " ".join(row[key] for key in KEYS[row["table"]])


def _number(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")
