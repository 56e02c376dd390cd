"""The Parquet contract: schemas, paths, atomic writes, provenance, readers, errors."""

from cache.errors import InputError
from cache.locks import BusyError, lock, lock_all
from cache.manifest import Manifest, Part, find, load
from cache.partition import Partition
from cache.parts import PartWriter, intact
from cache.reader import iter_logits, iter_parts, read_table, same_images
from cache.store import Store
from cache.writer import MissingPartsError, PartitionWriter, restate, sound, write_partition

__all__ = [
    "BusyError",
    "InputError",
    "Manifest",
    "MissingPartsError",
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
    "lock",
    "lock_all",
    "read_table",
    "restate",
    "same_images",
    "sound",
    "write_partition",
]
