"""Evaluation: predictions of whole images, counted as the benchmarks count them, as scores, tables and files."""
