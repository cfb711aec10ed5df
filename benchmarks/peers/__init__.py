"""One file for each solver that takes part, in its own words; `benchmarks.worker` runs it in a process of its own.

A file defines a class `Peer` that follows `Adapter` in `benchmarks/worker.py`; glmnet's is in R and follows the same
protocol of lines.
"""
