"""The door of ``segdla check``: python tools/check_data.py ..."""

import sys

try:
    from segdla.__main__ import run_verb
except ModuleNotFoundError:
    sys.exit("check_data.py: segdla is not installed; from the clone: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run_verb("check", prog="check_data.py"))
