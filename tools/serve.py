"""The door of ``segdla serve``: python tools/serve.py ..."""

import sys

try:
    from segdla.__main__ import run_verb
except ModuleNotFoundError:
    sys.exit("serve.py: segdla is not installed; from the clone: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run_verb("serve", prog="serve.py"))
