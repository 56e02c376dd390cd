"""images → logits and timings: every model once over every image, each image decoded once.

`run` is the driver: it knows what the cache holds, hands out the parts that it lacks and publishes
what comes back. A `Worker` makes parts on one device, with as many models resident as fit; an
engine (ENGINES) runs workers here, in a process per device, or on a Ray cluster.
"""

from stages.extract.engines import engine
from stages.extract.options import Options
from stages.extract.run import run

__all__ = ["Options", "engine", "run"]
