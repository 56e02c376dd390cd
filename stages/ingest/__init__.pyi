from .arrays import opened as opened
from .logits import import_logits as import_logits
from .request import ImportRequest as ImportRequest
from .tables import Table as Table, open_parquet as open_parquet, read_csv as read_csv
