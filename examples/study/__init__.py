"""What is a cascade worth? Every ordered pair of models that others ran, on twenty random halvings.

    python -m examples.study FOLDER

In: FOLDER with `imagenet_top2.parquet` and `cifar10_top2.parquet`, as `tools/published_outputs.py`
makes them. Out: `docs/results-imagenet.json`, and from it alone the page and figures beside it.
"""
