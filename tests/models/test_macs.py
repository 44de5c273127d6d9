import pytest

from segdla.models.from_config import create_model
from segdla.models.macs import count_macs


# Those of the authors' DLA-34, which computes 0.2 % more: projections that it never uses.
@pytest.mark.parametrize(("output_stride", "giga"), [(2, 228.6), (4, 188.5), (8, 158.5)])
def test_counts_are_the_authors(output_stride, giga):
    network = create_model("dla34", 19, output_stride=output_stride)
    assert count_macs(network, 1024, 2048) / 1e9 == pytest.approx(giga, rel=0.005)
