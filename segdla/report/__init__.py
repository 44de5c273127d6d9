"""The report of an evaluation: one HTML file with scores, confusions, pictures and curves, which needs nothing else."""
