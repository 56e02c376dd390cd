"""`cache`: what a cache holds, whether it is sound, what may go, and joining several."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from cache import InputError, Store, upkeep
from cascade_cli import options as opt
from cascade_cli.inputs.cache_root import confirm, existing_cache, merge_source
from cascade_cli.inputs.words import names_in
from cascade_cli.show.partitions import (
    PARTITION_COLUMNS,
    complete_row,
    counted,
    key_text,
    last_rows,
    merged_row,
    partition_row,
    print_report,
    removed_row,
    sums,
)
from cascade_cli.show.text import print_json, print_table, progress, say
from stages import costs
from stages.notices import unfinished_copy

cache = typer.Typer(
    add_completion=False,
    help="See what a cache holds, check it, remove from it, join several into one.\n\n"
    "\b\ncascade cache verify --cache artifacts",
    short_help="See what a cache holds, check it, remove from it, merge.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


def _of(things: str) -> Any:
    return opt.option(None, f"Only of these {things}, separated by commas.")


@dataclass(frozen=True)
class PartitionOptions:
    """Names separated by commas, of tables and of each key; None for all."""

    table: str | None = _of("tables")
    dataset: str | None = opt.option(None, "Only of these datasets, likewise.", "-d")
    split: str | None = _of("splits")
    variant: str | None = _of("variants")
    runtime: str | None = _of("runtimes")
    model: str | None = _of("models")
    score: str | None = opt.option(None, "Only of these added scores.")
    algorithm: str | None = opt.option(None, "Only of these hashes.")
    stage: str | None = opt.option(None, "Only results of these stages.")
    run: str | None = opt.option(None, "Only these results, by their digest.")
    stream: str | None = opt.option(None, "Only these streams, likewise.")


@cache.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@cache.command("ls", short_help="List the partitions, unfinished ones too.")
@opt.grouped("what cache as_json")
def ls(what: PartitionOptions, common: opt.CommonOptions) -> None:
    """List the partitions, unfinished ones too, with the parts that are there.

    \b
    cascade cache ls --table logits -d digits
    """
    store = existing_cache(common.cache)
    seen = upkeep.survey(store, _selection(what))
    unfinished_copy(store)
    rows = [complete_row(manifest) for manifest in seen.complete]
    rows += [partition_row(place, f"the manifest {what}") for place, what in seen.damaged]
    for each in seen.unfinished:
        parts = [receipt.part for receipt in each.receipts]
        rows.append(partition_row(each.partition, "unfinished") | sums(parts))
    size = sum(row["size_bytes"] or 0 for row in rows)
    if common.as_json:
        print_json({"cache": store.root, "partitions": rows, "size_bytes": size})
        return
    state = {name: name for name in ("made", "state")}
    print_table([row | {"keys": key_text(row)} for row in rows], PARTITION_COLUMNS | state)
    print(f"{store.root}: {counted(rows, 'partition')}, {size:,d} bytes")


@cache.command("verify", short_help="Read every part again; exit 2 where one is damaged.")
@opt.grouped("what cache as_json")
def verify(what: PartitionOptions, common: opt.CommonOptions) -> None:
    """Read every part again and hold it against its manifest; exit 2 where one is damaged.

    \b
    cascade cache verify -d digits
    """
    store = existing_cache(common.cache)
    with progress("verify: bytes") as tell:
        report = upkeep.verify(store, _selection(what), tell)
    # What mends a file knows every stage; only this needs it.
    from cascade_cli.show.remedies import remedy, remedy_command

    commands = [remedy_command(store, each) for each in report.damage]
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
    if common.as_json:
        print_json(found)
    else:
        print_report(found)
    if damaged or report.survey.unfinished_copy is not None:
        raise typer.Exit(2)


@cache.command("rm", short_help="Remove partitions, and what is about them.")
@opt.grouped("what damaged yes cache as_json")
def rm(
    what: PartitionOptions,
    common: opt.CommonOptions,
    damaged: bool = opt.option(False, "Only those whose manifest is damaged."),
    yes: bool = opt.option(False, "Do not ask.", "-y"),
) -> None:
    """Remove partitions: logits with their scores, samples with all that is about them.

    \b
    cascade cache rm --model digits_wide --runtime torch-bf16-cpu
    """
    store = existing_cache(common.cache)
    selection = _selection(what)
    if not selection and not damaged:
        raise InputError("nothing says what to remove: give --table, --dataset, --model …")
    going = upkeep.chosen(store, selection, damaged)
    if not going:
        raise InputError(f"{store.root} has nothing of that: see `cascade cache ls`")
    rows = [removed_row(each) for each in going]
    size = sum(row["size_bytes"] for row in rows)
    shown = [row | {"keys": key_text(row)} for row in rows]
    if not yes:
        print_table(shown, PARTITION_COLUMNS, sys.stderr)
        confirm(f"remove {counted(rows, 'partition')}, {size:,d} bytes?", "give --yes")
    elif not common.as_json:
        print_table(shown, PARTITION_COLUMNS)
    upkeep.remove(store, going, say)
    if common.as_json:
        print_json({"cache": store.root, "removed": rows, "size_bytes": size})
        return
    print(f"{store.root}: removed {counted(rows, 'partition')}, {size:,d} bytes")


@cache.command("gc", short_help="Remove what no reader and no later run would use.")
@opt.grouped("older_than dry_run cache as_json")
def gc(
    common: opt.CommonOptions,
    older_than: float = opt.option(1.0, "Hours; younger files stay.", min=0),
    dry_run: bool = opt.option(False, "Remove nothing, list it."),
) -> None:
    """Remove what no reader and no later run would use: half files, strays, locks of the dead.

    Parts of unfinished partitions stay for the run that goes on from them.

    \b
    cascade cache gc --older-than 24 --dry-run
    """
    store = existing_cache(common.cache)
    waste = upkeep.collect(store, older_than * upkeep.HOUR_S, dry_run)
    gone = [each for each in waste if each.kept is None]
    size = sum(each.size_bytes for each in gone)
    if common.as_json:
        kept = [{"path": each.path, "why": each.kept} for each in waste if each.kept]
        removed = [{"path": e.path, "why": e.why, "size_bytes": e.size_bytes} for e in gone]
        names = {"cache": store.root, "dry_run": dry_run}
        print_json(names | {"removed": removed, "kept": kept, "size_bytes": size})
        return
    for each in waste:
        print(f"{each.path}: {each.why}" + (f", but {each.kept}" if each.kept else ""))
    done = "would remove" if dry_run else "removed"
    print(f"{store.root}: {done} {counted(gone, 'file')}, {size:,d} bytes")


@cache.command("merge", short_help="Copy into --cache what other caches hold.")
@opt.grouped("sources cache as_json")
def merge(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Caches: folders, URIs.")],
    common: opt.CommonOptions,
) -> None:
    """Copy into --cache what other caches hold, and publish what the shards have made together.

    \b
    cascade cache merge shard0 shard1 s3://bucket/shard2 --cache artifacts
    """
    target = Store(common.cache)
    opened = [merge_source(source, target) for source in sources]
    rows: list[dict[str, Any]] = []
    for source in opened:
        with progress(f"merge {source.root}: bytes") as tell:
            outcomes = upkeep.merge(target, source, {"costs": costs.merge_from}, tell)
        rows += [{"source": source.root, **merged_row(each)} for each in outcomes]
    if common.as_json:
        print_json({"cache": target.root, "partitions": rows})
        return
    shown = {k: v for k, v in PARTITION_COLUMNS.items() if k != "rows"}
    shown = {"source": "from"} | shown | {"of": "of", "state": "state"}
    print_table([row | {"keys": key_text(row)} for row in rows], shown)
    for row in last_rows(rows):
        if row["missing"]:
            lacking = ", ".join(map(str, row["missing"]))
            print(f"{row['table']} {key_text(row)} still lacks parts {lacking}")
    print(f"{target.root}: merged {counted(opened, 'cache')}")


def _selection(what: PartitionOptions) -> upkeep.Selection:
    named = {key: names_in(text) for key, text in asdict(what).items()}
    tables = named.pop("table")
    chosen = {key: tuple(names) for key, names in named.items() if names is not None}
    return upkeep.Selection(tuple(tables or ()), chosen)
