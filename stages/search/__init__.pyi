from .devices import (
    ALL_DEVICES as ALL_DEVICES,
    DeviceChoice as DeviceChoice,
    compare_devices as compare_devices,
    priced_everywhere as priced_everywhere,
)
from .evaluation import AnswerRow as AnswerRow, SearchRow as SearchRow
from .fitted_frontier import Space as Space
from .guarantee import (
    CertificateFacts as CertificateFacts,
    Promise as Promise,
    Shortlist as Shortlist,
)
from .one_pair import AnswerPoint as AnswerPoint, OnePair as OnePair, answers_of as answers_of
from .pairs import SearchRule as SearchRule, rules as rules
from .question import (
    ABSTAINED as ABSTAINED,
    ACCURACY as ACCURACY,
    BEST as BEST,
    CERTIFY as CERTIFY,
    COST as COST,
    ENERGY as ENERGY,
    LATENCY as LATENCY,
    LOSS as LOSS,
    MATCH as MATCH,
    QUESTIONS as QUESTIONS,
    USAGE as USAGE,
    WITHIN as WITHIN,
    Goal as Goal,
    Question as Question,
)
from .stage import Optimism as Optimism, Search as Search, SearchResult as SearchResult, run as run
from .verdict import (
    CANNOT_TELL as CANNOT_TELL,
    MEETS as MEETS,
    MISSES as MISSES,
)
from .wording import limit_of as limit_of, sentences as sentences
