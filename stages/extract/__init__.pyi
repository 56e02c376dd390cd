from .engines import ENGINES as ENGINES, engine as engine
from .options import Options as Options
from .stage import ExtractedPartition as ExtractedPartition, run as run
