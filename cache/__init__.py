"""The Parquet contract: schemas, paths, atomic writes, provenance, readers, errors."""

from cache.errors import InputError

__all__ = ["InputError"]
