"""The door of ``segdla convert``: python tools/convert.py ..."""

import sys

try:
    from segdla.__main__ import run_verb
except ModuleNotFoundError:
    sys.exit("convert.py: segdla is not installed; from the clone: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run_verb("convert", prog="convert.py"))
