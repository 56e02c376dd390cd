"""What is a cascade worth? Every ordered pair of models that others ran, on twenty random halvings;
and what changes where one mistake costs more than others.

    python -m examples.study FOLDER

In: FOLDER with `imagenet_top2.parquet` and `cifar10_top2.parquet`, as `tools/published_outputs.py`
makes them, and `ferplus.parquet`. Out: `docs/results-imagenet.json`, and from it alone the page and
figures beside it; `docs/results-unequal-costs.md` and its figure.
"""
