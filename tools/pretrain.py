"""The door of ``segdla pretrain``: python tools/pretrain.py ..."""

import sys

try:
    from segdla.__main__ import run_verb
except ModuleNotFoundError:
    sys.exit("pretrain.py: segdla is not installed; from the clone: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run_verb("pretrain", prog="pretrain.py"))
