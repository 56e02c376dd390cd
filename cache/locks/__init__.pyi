from .holder import BusyError as BusyError
from .locking import (
    LOCKS as LOCKS,
    flocked as flocked,
    lock as lock,
    lock_to_delete as lock_to_delete,
)
from .object_store import CLAIMS as CLAIMS, claimed as claimed
