# isort: skip_file
"""Groups of options, as dataclasses that travel whole, and the options that several of them share.

In: typer, and the scores' names. Out: what commands take as parameters, and `grouped`, which shows
it to typer.

    >>> from cascade_cli.options import PairOptions
    >>> PairOptions("small", "large").model_2
    'large'
"""

# fmt: off
from cascade_cli.options.common import Cache
from cascade_cli.options.common import CommonOptions
from cascade_cli.options.common import Data
from cascade_cli.options.common import Dataset
from cascade_cli.options.common import DatasetLong
from cascade_cli.options.common import Device
from cascade_cli.options.common import Json
from cascade_cli.options.common import MOST
from cascade_cli.options.common import Models
from cascade_cli.options.common import OWN_SCORES
from cascade_cli.options.common import Objectives
from cascade_cli.options.common import OnePostCheck
from cascade_cli.options.common import OutputOptions
from cascade_cli.options.common import Precision
from cascade_cli.options.common import Preprocess
from cascade_cli.options.common import Runtime
from cascade_cli.options.common import SCORE_NAMES
from cascade_cli.options.common import ScoreFns
from cascade_cli.options.common import Split
from cascade_cli.options.common import Splits
from cascade_cli.options.common import WeightsDir
from cascade_cli.options.common import no_share
from cascade_cli.options.common import share
from cascade_cli.options.costs import Cost
from cascade_cli.options.costs import CostDevice
from cascade_cli.options.costs import CostOptions
from cascade_cli.options.costs import RequestCostOptions
from cascade_cli.options.decision import DecisionOptions
from cascade_cli.options.groups import grouped
from cascade_cli.options.images import ExtractOptions
from cascade_cli.options.images import ImageOptions
from cascade_cli.options.images import LogitsOptions
from cascade_cli.options.images import PartRows
from cascade_cli.options.images import Variants
from cascade_cli.options.live import LiveOptions
from cascade_cli.options.live import Meter
from cascade_cli.options.models import AllPairsOptions
from cascade_cli.options.models import PairOptions
from cascade_cli.options.models import WeightedPairOptions
from cascade_cli.options.partitions import PartitionOptions
from cascade_cli.options.question import CertifyOptions
from cascade_cli.options.question import QuestionOptions
from cascade_cli.options.stream import MemoryOptions
from cascade_cli.options.stream import StreamOptions

__all__ = [
    "MOST", "OWN_SCORES", "SCORE_NAMES", "AllPairsOptions", "Cache", "CertifyOptions",
    "CommonOptions", "Cost", "CostDevice", "CostOptions", "Data", "Dataset", "DatasetLong",
    "DecisionOptions", "Device", "ExtractOptions", "ImageOptions", "Json", "LiveOptions",
    "LogitsOptions", "MemoryOptions", "Meter", "Models", "Objectives", "OnePostCheck",
    "OutputOptions", "PairOptions", "PartRows", "PartitionOptions", "Precision", "Preprocess",
    "QuestionOptions", "RequestCostOptions", "Runtime", "ScoreFns", "Split", "Splits",
    "StreamOptions", "Variants", "WeightedPairOptions", "WeightsDir", "grouped", "no_share",
    "share",
]
