"""The door of ``segdla benchmark``: python tools/benchmark.py ..."""

import sys

try:
    from segdla.__main__ import run_verb
except ModuleNotFoundError:
    sys.exit("benchmark.py: segdla is not installed; from the clone: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run_verb("benchmark", prog="benchmark.py"))
