"""``segdla VERB ...``, which ``python -m segdla VERB ...`` is too: how a command starts and fails."""

import sys
from collections.abc import Sequence
from importlib import import_module

from segdla.version import __version__

VERBS = {
    "train": ("train", "train a network, or resume a run"),
    "pretrain": ("pretrain", "train a classification network, to start others from"),
    "test": ("test", "score a trained network by mean IoU"),
    "compare": ("compare", "say whether one of two scored networks is better"),
    "report": ("write_report", "write a page that shows how a trained network does"),
    "predict": ("predict", "segment images and videos"),
    "serve": ("serve", "try a trained network in a browser, and use it over HTTP"),
    "check": ("check_data", "look at a data set before training, or draft a config for images and their labels"),
    "convert": ("convert", "write a data set in another format"),
    "export": ("export", "write a trained network for ONNX Runtime, OpenVINO or PyTorch"),
    "benchmark": ("benchmark", "measure the size and the speed of a network"),
    "models": ("models", "list the networks that can be built, and the weights that exist"),
}
"""The modules in commands/ and what they do, by verb."""
_USAGE = "\n".join(
    [
        "usage: segdla VERB ...",
        "",
        "Semantic segmentation with Deep Layer Aggregation.",
        "",
        *(f"  {verb:<11}{purpose}" for verb, (_, purpose) in VERBS.items()),
        "",
        "segdla VERB --help explains a verb; segdla --version prints the version.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb with its arguments; return the exit status."""
    from segdla.errors import nearest, quoted
    from segdla.machine.terminal import say

    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        say(_USAGE)
        return 0
    if words[0] in ("-V", "--version"):
        say(f"segdla {__version__}")
        return 0
    if words[0] not in VERBS:
        near = nearest(words[0], VERBS)
        remedy = f"did you mean segdla {near}?" if near else "see segdla --help"
        print(f"segdla: {quoted(words[0])} is none of {', '.join(VERBS)}; {remedy}", file=sys.stderr)
        return 2
    return run_verb(words[0], words[1:])


def run_verb(verb: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run a verb and return the exit status; ``prog`` is the command that the user called, for messages."""
    try:
        from segdla.commands.arguments import run

        command = import_module(f"segdla.commands.{VERBS[verb][0]}")
        return run(command, prog or f"segdla {verb}", argv)
    except KeyboardInterrupt:  # also in the first seconds, which go to imports
        return 130


if __name__ == "__main__":
    sys.exit(main())
