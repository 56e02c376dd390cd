"""The Parquet contract: schemas, paths, atomic writes, provenance, readers, errors."""

from cache.errors import InputError
from cache.manifest import Manifest, Part, find, load
from cache.partition import Partition
from cache.reader import iter_logits, iter_parts, read_table, same_images
from cache.store import Store
from cache.writer import PartitionWriter, PartWriter, intact, write_partition

__all__ = [
    "InputError",
    "Manifest",
    "Part",
    "PartWriter",
    "Partition",
    "PartitionWriter",
    "Store",
    "find",
    "intact",
    "iter_logits",
    "iter_parts",
    "load",
    "read_table",
    "same_images",
    "write_partition",
]
