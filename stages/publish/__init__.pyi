from .stage import SUMS as SUMS, Wanted as Wanted, run as run
from .wide_table import wide as wide, writers as writers
