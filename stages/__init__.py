"""One module per stage: a pure core (arrays in, dataclass or table out) and a short run()."""
