"""The options that several commands share, spelt once. The original scripts' flags keep working."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

Cache = Annotated[
    Optional[str],
    typer.Option("--cache", help="Cache root: a folder or URI. [default: $CASCADE_CACHE, artifacts]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Dataset = Annotated[
    Optional[str],
    typer.Option("-d", "--dataset", help="Dataset. [default: that of the first model, digits]"),
]
Data = Annotated[
    Optional[str],
    typer.Option("-f", "--filepath", "--data", help="Folder that holds the images."),
]
Split = Annotated[Optional[str], typer.Option("--split", help="Split to report. [default: test]")]
Runtime = Annotated[
    Optional[str],
    typer.Option("--runtime", help="Which runtime's logits, where the cache has several."),
]
Model1 = Annotated[Optional[str], typer.Option("-m1", "--model1", help="First model, A.")]
Model2 = Annotated[Optional[str], typer.Option("-m2", "--model2", help="Second model, B.")]
Weights1 = Annotated[Optional[str], typer.Option("-w1", "--weights1", help="Weights file of A.")]
Weights2 = Annotated[Optional[str], typer.Option("-w2", "--weights2", help="Weights file of B.")]
WeightsDir = Annotated[
    Optional[str],
    typer.Option("--weights", help="Folder with <model>.pt, .pth or .safetensors."),
]
ScoreFn = Annotated[
    str,
    typer.Option("-s", "--scorefn", help="Score: maxp, difference, entropy or oracle."),
]
Threshold = Annotated[
    Optional[str],
    typer.Option("-t", "--threshold", help="λ in [0, 1], always or never. [default: fitted]"),
]
PostCheck = Annotated[
    bool, typer.Option("-p", "--postcheck", help="Take B's answer only where B is surer than A.")
]
FitSplit = Annotated[
    Optional[str],
    typer.Option(
        "--fit-split",
        help="Split that fits λ. [default: one that no model was trained on, else cross-fitted]",
    ),
]
Device = Annotated[
    Optional[str], typer.Option("--device", help="cpu, cuda, cuda:1 … [default: a GPU if there]")
]
Precision = Annotated[str, typer.Option("--precision", help="fp32, tf32, bf16 or fp16.")]
Output = Annotated[
    Optional[str], typer.Option("-o", "--output", help="Also write to this .csv or .parquet file.")
]
