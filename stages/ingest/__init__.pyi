from .arrays import opened as opened
from .csv_table import read_csv as read_csv
from .log_outputs import import_log as import_log
from .many import import_many as import_many
from .parquet_table import open_parquet as open_parquet
from .request import ImportRequest as ImportRequest
from .stage import import_outputs as import_outputs
from .tables import Table as Table
