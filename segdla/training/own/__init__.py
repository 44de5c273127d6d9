"""Parts of a run that a caller may hand in: parts.py checks them, from_config.py takes them or else the config's."""
