"""The door of ``segdla train``: python tools/train.py ..."""

import sys

try:
    from segdla.__main__ import run_verb
except ModuleNotFoundError:
    sys.exit("train.py: segdla is not installed; from the clone: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run_verb("train", prog="train.py"))
