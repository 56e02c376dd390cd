from .costs import measure_costs as measure_costs, unmeasured as unmeasured
from .duplicates import REPEATS as REPEATS, image_keys as image_keys, repeats as repeats
from .registry import ALL as ALL, HASHES as HASHES, hash_of as hash_of, rounded_name as rounded_name
from .robustness import HashRecall as HashRecall, recall_under_changes as recall_under_changes
from .spec import Hash as Hash
from .stage import HashedSplit as HashedSplit, hash_keys as hash_keys, run as run
