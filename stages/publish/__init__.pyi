from .stage import SUMS as SUMS, PublishedCopy as PublishedCopy, Wanted as Wanted, run as run
from .wide_table import wide as wide, writers as writers
