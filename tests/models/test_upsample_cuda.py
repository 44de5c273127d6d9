import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton for this system")
def test_kernels_compute_the_transposed_convolution_and_its_gradients():
    """On a CPU, by Triton's interpreter, which has to be asked for before Triton is imported."""
    script = Path(__file__).parents[1] / "interpreted_kernels.py"
    subprocess.run([sys.executable, script], env={**os.environ, "TRITON_INTERPRET": "1"}, check=True, timeout=120)
