# isort: skip_file
"""Groups of options, as dataclasses that travel whole, and the options that several of them share.

In: typer alone. Out: what commands take as parameters, and `grouped`, which shows it to typer.

    >>> from cascade_cli.options import PairOptions
    >>> PairOptions("small", "large").model_2
    'large'
"""

# fmt: off
from cascade_cli.options.common import (
    Cache, CommonOptions, Data, Dataset, DatasetLong, Device, Json, MOST, Models, OWN_SCORES,
    Objectives, OnePostCheck, OutputOptions, Precision, Preprocess, Runtime, ScoreFns, Split,
    Splits, WeightsDir, no_share, share,
)
from cascade_cli.options.costs import Cost, CostDevice, CostOptions, RequestCostOptions
from cascade_cli.options.decision import DecisionOptions
from cascade_cli.options.groups import grouped
from cascade_cli.options.images import (
    ExtractOptions, ImageOptions, LogitsOptions, PartRows, Variants,
)
from cascade_cli.options.live import LiveOptions, Meter
from cascade_cli.options.models import AllPairsOptions, PairOptions, WeightedPairOptions
from cascade_cli.options.partitions import PartitionOptions
from cascade_cli.options.question import CertifyOptions, QuestionOptions
from cascade_cli.options.stream import MemoryOptions, StreamOptions

__all__ = [
    "MOST", "OWN_SCORES", "AllPairsOptions", "Cache", "CertifyOptions", "CommonOptions", "Cost",
    "CostDevice", "CostOptions", "Data", "Dataset", "DatasetLong", "DecisionOptions", "Device",
    "ExtractOptions", "ImageOptions", "Json", "LiveOptions", "LogitsOptions", "MemoryOptions",
    "Meter", "Models", "Objectives", "OnePostCheck", "OutputOptions", "PairOptions", "PartRows",
    "PartitionOptions", "Precision", "Preprocess", "QuestionOptions", "RequestCostOptions",
    "Runtime", "ScoreFns", "Split", "Splits", "StreamOptions", "Variants", "WeightedPairOptions",
    "WeightsDir", "grouped", "no_share", "share",
]
