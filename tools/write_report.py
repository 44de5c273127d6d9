"""The door of ``segdla report``: python tools/write_report.py ..."""

import sys

try:
    from segdla.__main__ import run_verb
except ModuleNotFoundError:
    sys.exit("write_report.py: segdla is not installed; from the clone: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run_verb("report", prog="write_report.py"))
