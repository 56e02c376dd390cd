from .catalogue import ListedModel as ListedModel, listing as listing
from .choice import (
    Chosen as Chosen,
    aliased as aliased,
    check_name as check_name,
    choose as choose,
    of_record as of_record,
)
from .code import code_of as code_of
from .exported import Target as Target, for_engine as for_engine
from .factory import fuse as fuse, instantiate as instantiate, require_torch as require_torch
from .records import Recorded as Recorded, recorded as recorded, same_bytes as same_bytes
from .registry import build as build, dataset_of as dataset_of, get as get, specs as specs
from .size import sizes as sizes
from .spec import ModelSpec as ModelSpec, Published as Published
from .weights import Weights as Weights, available as available, find as find, load as load
