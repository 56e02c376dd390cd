"""The stream and memory options of `simulate`, `live` and `export`, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import asking
from cascade_cli import options as opt
from cascade_cli.output import say

if TYPE_CHECKING:
    from cache import Store
    from cascade_cli.gather import Images
    from stages.cascade import MemoryPolicy
    from stages.score import ScoreSet
    from stages.simulate import Recall
    from stages.stream import Stream


def _copies(text: str | float) -> float:
    """-d is the dataset on other commands."""
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a valid float: the dataset is --dataset here"
        ) from error


Duplicates = Annotated[
    float,
    typer.Option(
        "-d",
        "--duplicates",
        parser=_copies,
        metavar="FLOAT",
        help="Copies of each image; 0.5: of half of them.",
    ),
]
Rotations = Annotated[
    float,
    typer.Option(
        "-r",
        "--rotations",
        callback=opt.share,
        help="Probability that a copy is turned or mirrored.",
    ),
]
Order = Annotated[
    str, typer.Option("--order", help="Copies appended at the end, or shuffled among all.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the copies, turns and order.")]
StreamFile = Annotated[
    str | None,
    typer.Option("--stream", help="Your own requests: .csv or .parquet of sample_id, variant."),
]
Memory = Annotated[
    str | None,
    typer.Option("-m", "--memory", help="Answer repeated images from a table, by this hash."),
]
MemorySize = Annotated[
    int | None,
    typer.Option(
        "--memory-size", max=opt.MOST, help="Most keys held; the least recently used goes."
    ),
]
MemoryRadius = Annotated[
    int,
    typer.Option(
        "--memory-radius", max=opt.MOST, help="Hamming distance of a hit, for the bit hashes."
    ),
]
MemoryTrust = Annotated[
    float | None,
    typer.Option(
        "--memory-trust",
        callback=opt.share,
        help="Store only answers whose score reaches this.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """What the stream and memory options ask for."""

    duplicates: float = 0.0
    rotations: float = 0.0
    order: str = "appended"
    seed: int = 0
    file: str | None = None
    memory: str | None = None
    size: int | None = None
    radius: int = 0
    trust: float | None = None

    @property
    def repeats(self) -> bool:
        """Whether the requests are anything but each image once, in order."""
        return bool(self.duplicates or self.file or self.order != "appended")

    def policy(self) -> MemoryPolicy | None:
        """The memory's policy; InputError for options that do not go together."""
        from cache.errors import InputError, one_of
        from stages.cascade import MemoryPolicy

        if self.memory is None:
            return None
        from stages.hashes import HASHES

        if self.memory not in HASHES:
            raise one_of("hash", self.memory, HASHES)
        if self.radius and HASHES[self.memory].bits is None:
            raise InputError(f"{self.memory} has no distance: leave out --memory-radius")
        if self.trust is not None and not 0 <= self.trust <= 1:
            raise InputError(f"--memory-trust {self.trust} is no score: give a number in [0, 1]")
        return MemoryPolicy(self.memory, self.size, self.radius, self.trust)

    def stream(self, n: int) -> Stream:
        """The requests about n images; InputError for options out of range."""
        from cache import InputError
        from stages.stream import make, read

        if self.file is not None:
            if self.duplicates or self.rotations or self.order != "appended":
                raise InputError("--stream holds the requests: leave out -d, -r and --order")
            return read(self.file, n)
        if self.rotations and not self.duplicates:
            say("--rotations turns copies, and without --duplicates there are none")
        return make(n, self.duplicates, self.rotations, self.order, self.seed)

    def about(self) -> dict[str, Any]:
        keys = ("duplicates", "rotations", "order", "seed", "file")
        return {key: getattr(self, key) for key in keys}


def memory_or_none(context: typer.Context, memory: str | None) -> None:
    """InputError for flags about a memory that there is not."""
    if memory is None:
        about = ("memory_size", "memory_radius", "memory_trust")
        asking.refuse(context, about, "needs a hash: give --memory dhash, say")


def streamed(
    store: Store,
    scores: ScoreSet,
    pair: Sequence[str],
    asked: Asked,
    images: Images,
    runtime: str | None,
) -> tuple[ScoreSet, Stream, str | None]:
    """The scores by request, the stream, and its name in the cache, where it is kept.

    Each image once and in order is no stream worth a name.
    """
    from cascade_cli import gather
    from stages import requests, stream

    made = asked.stream(len(scores.labels))
    if made.used == ["identity"] and not asked.repeats:
        return scores, made, None
    where = (store, scores.dataset, scores.split)
    images = replace(images, variants=tuple(made.used))
    by_request = gather.or_extracted(
        lambda: requests.scores(*where, pair, made, runtime or scores.runtime, asked.memory),
        *where,
        pair,
        images,
        runtime,
    )
    return by_request, made, stream.save(store, scores, made, asked.about())


def recall(
    store: Store,
    scores: ScoreSet,
    made: Stream,
    policy: MemoryPolicy | None,
    batch_size: int,
    images: Images,
) -> Recall | None:
    """The memory in front of the cascade; hashes that the cache lacks are made if they can be, and
    measured: what they cost is known only afterwards."""
    if policy is None:
        return None
    from cascade_cli import gather, hashing
    from stages import requests

    def found() -> Recall:
        return requests.recall(store, scores, made, policy, batch_size)

    try:
        return found()
    except requests.MissingHashesError:
        if not gather.have_images(scores.dataset, images):
            raise
        say(f"the cache lacks {policy.algorithm} hashes of {scores.split}: making them first")
        turned = replace(images, variants=tuple(made.used))
        names = [policy.algorithm]
        hashing.hash_too(store, scores.dataset, [scores.split], names, turned, profile=True)
        return found()


def references(everyone: ScoreSet, shown: ScoreSet, made: Stream) -> ScoreSet:
    """All single models by request, if no request is turned; else those that the stream is of."""
    from stages.stream import requested

    turned = made.used != ["identity"]
    return shown if turned else requested({"identity": everyone}, made)


def hash_cost(store: Store, scores: ScoreSet, algorithm: str, kind: str, device: str | None) -> Any:
    """Cost of hashing one image in the unit of `kind`, None where it was not measured."""
    from stages.costs import hash_cost as known

    return known(store, scores.dataset, algorithm, kind, device)


def with_hash(pricer: Any, store: Store, scores: ScoreSet, policy: MemoryPolicy | None) -> Any:
    """The pricer with the memory's own cost, or why that is unknown."""
    if pricer is None or policy is None:
        return pricer
    kind, device = pricer.prices.kind, pricer.prices.device
    cost, time = (hash_cost(store, scores, policy.algorithm, k, device) for k in (kind, "latency"))
    known = cost is not None or kind == "macs"
    why = None if known else _unhashed(store, scores, policy.algorithm, kind, device)
    return replace(pricer, hash_cost=cost, hash_reason=why, hash_ms=time)


_OTHER = {"joules": "latency", "latency": "joules"}


def _unhashed(store: Store, scores: ScoreSet, algorithm: str, kind: str, device: str) -> str:
    """Why no cost of a hash is known, and what to do."""
    from stages import commands

    unknown = f"{kind} of hashing by {algorithm} on {device} are unknown"
    if hash_cost(store, scores, algorithm, _OTHER[kind], device) is not None:
        return f"{unknown}: give --cost {_OTHER[kind]}"
    words = commands.hashes(scores.dataset, scores.split, "identity", algorithm)
    return f"{unknown}: run `{commands.line(store, words)}` there"
