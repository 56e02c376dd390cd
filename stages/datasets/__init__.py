"""What models can be run on: labelled pictures from any layout, in one fixed order."""

from stages.datasets.source import ArraySource, Source

__all__ = ["ArraySource", "Source"]
