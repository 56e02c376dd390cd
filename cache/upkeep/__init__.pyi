from .merging import Merged as Merged, merge as merge
from .overview import Selection as Selection, survey as survey
from .removal import (
    HOUR_S as HOUR_S,
    Going as Going,
    chosen as chosen,
    collect as collect,
    remove as remove,
)
from .verification import Damage as Damage, verify as verify
