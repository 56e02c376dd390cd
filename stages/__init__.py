"""One room per concept: a pure core (arrays in, dataclass or table out) and a `stage` that reads
and writes the cache. A room is entered by its face only."""
