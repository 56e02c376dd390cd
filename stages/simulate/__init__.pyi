from .margin import (
    NOISES as NOISES,
    PREFIXES as PREFIXES,
    ModelChange as ModelChange,
    RuntimeChange as RuntimeChange,
    between_runtimes as between_runtimes,
    model_between_runtimes as model_between_runtimes,
)
from .nobody import (
    NobodyFigures as NobodyFigures,
    coverage_of as coverage_of,
    nobody_figures as nobody_figures,
)
from .requests import (
    MissingHashesError as MissingHashesError,
    RequestSet as RequestSet,
    by_request as by_request,
    ready as ready,
    recall as recall,
)
from .shares import share_of as share_of
from .stage import (
    DecidedRequests as DecidedRequests,
    FitFacts as FitFacts,
    FittedLimit as FittedLimit,
    Honest as Honest,
    MemoryFigures as MemoryFigures,
    Recall as Recall,
    SimulatedCascade as SimulatedCascade,
    figures as figures,
    limit_of_b as limit_of_b,
    priced as priced,
    recalled as recalled,
    run as run,
    summary as summary,
)
from .stream import (
    Stream as Stream,
    make as make,
    read as read,
    requested as requested,
    save as save,
    shown as shown,
)
from .tail import Tail as Tail, tail_of as tail_of
