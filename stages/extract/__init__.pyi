from .engines import ENGINES as ENGINES, Engine as Engine, engine as engine
from .options import Options as Options
from .stage import ExtractedPartition as ExtractedPartition, run as run, run_all as run_all
