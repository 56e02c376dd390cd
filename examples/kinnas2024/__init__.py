"""Kinnas, Violos, Kompatsiaris, Papadopoulos (2024): their published figures beside ours.

    python -m examples.kinnas2024 --dataset cifar10 --cost macs

In: a cache with the logits of one of their pairs. Out: every figure that the paper or its code
states, with its source, beside what the cached images say; docs/reproduce.md tells how to read it.
"""
