"""Benchmarks: ratios measured in one run. ``README.md`` beside this keeps the numbers."""
