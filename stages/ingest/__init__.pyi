from .arrays import opened as opened
from .many import import_many as import_many
from .request import ImportRequest as ImportRequest
from .stage import import_outputs as import_outputs
from .tables import Table as Table, open_parquet as open_parquet, read_csv as read_csv
