from .common import (
    MOST as MOST,
    SCORE_NAMES as SCORE_NAMES,
    CommonOptions as CommonOptions,
    OutputOptions as OutputOptions,
    no_share as no_share,
    share as share,
)
from .costs import CostOptions as CostOptions
from .decision import (
    ComparedOptions as ComparedOptions,
    DecisionOptions as DecisionOptions,
    LossOptions as LossOptions,
    PairOptions as PairOptions,
)
from .few_labels import FewLabelsOptions as FewLabelsOptions
from .groups import grouped as grouped, option as option
from .images import (
    RUNS_IN as RUNS_IN,
    ImageOptions as ImageOptions,
    LogitsOptions as LogitsOptions,
    RequestedOptions as RequestedOptions,
)
from .nobody import NobodyOptions as NobodyOptions
from .question import (
    CertifyOptions as CertifyOptions,
    QuestionOptions as QuestionOptions,
    SpaceOptions as SpaceOptions,
)
from .stream import METER as METER, LiveOptions as LiveOptions, MemoryOptions as MemoryOptions
