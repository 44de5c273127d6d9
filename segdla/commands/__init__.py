"""Commands, one a file: each parses its arguments, calls the library and prints the result.

A command has a ``DESCRIPTION``, ``add_arguments(parser)`` and ``main(args)``, which returns the exit status. Import
torch, and everything that needs it, in ``main``: that takes a second or more, and ``--help`` is to come at once.
"""
