import pytest

from experiments.support import paper


@pytest.mark.parametrize(
  ("config", "name"),
  [
    ({}, "IODINE"),  # of an old run
    ({"model": "iodine", "decoder": "broadcast"}, "IODINE"),
    ({"model": "iodine", "decoder": "deconv"}, "IODINE, deconv"),
    ({"model": "iodine", "decoder": "modulated"}, "IODINE, modulated"),
    ({"model": "nem", "cell": "relational"}, "R-NEM"),
    ({"model": "nem", "cell": "recurrent"}, "RNN-NEM"),
    ({"model": "monet"}, "MONet"),
    ({"model": "vae"}, "VAE"),
  ],
)
def test_a_model_that_is_not_the_paper_s_is_not_called_so(config, name):
  assert paper.method(config) == name
