"""Print the config's JSON schema, for configs/schema.json, or with ``--markdown`` its reference, for docs/config.md."""

import argparse
import json

from segdla.config.load import schema
from segdla.config.reference import markdown

parser = argparse.ArgumentParser(prog="python -m segdla.config", description="Print the JSON schema of the config.")
parser.add_argument("--markdown", action="store_true", help="print a reference of all keys instead, in Markdown")
print(markdown() if parser.parse_args().markdown else json.dumps(schema(), indent=2))
