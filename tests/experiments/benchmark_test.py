import json

import pytest

from experiments import benchmark
from iodine.errors import UserError
from tests.experiments.conftest import TINY


def run(tmp_path, **updates):
  return benchmark.command.run(updates={**TINY, "repeats": 2, **updates}, folder=tmp_path)


def test_a_variant_is_measured_beside_the_plain_one(tmp_path, capsys, tiny_data):
  run(
    tmp_path,
    parts=["inference"],
    compare=[{"num_slots": 6}],
    data={"dir": str(tiny_data), "name": "tetrominoes_quick"},
  )
  report = json.loads((tmp_path / "1" / "benchmark.json").read_text())
  plain, more_slots = report["rows"]
  assert more_slots["variant"] == "num_slots=6"
  assert more_slots["flops"] > plain["flops"] > 0
  for row in report["rows"]:
    assert row["quartiles"][0] <= row["seconds"] <= row["quartiles"][1]
    assert row["peak_memory"] >= row["base_memory"] > 0
    assert row["share_of_ceiling"] > 0
    assert row["cpu_seconds"] >= row["system_seconds"] >= 0
    assert row["page_faults"] >= 0
  assert "inference num_slots=6" in capsys.readouterr().out


def test_the_optimizer_of_the_quick_presets_is_measured(tmp_path, tiny_data):
  """Muon's products are of matrices of any shape, which a graph does not tell."""
  data = {"dir": str(tiny_data), "name": "tetrominoes_quick"}
  run(tmp_path, parts=["train"], optimizer="muon", data=data)
  [row] = json.loads((tmp_path / "1" / "benchmark.json").read_text())["rows"]
  assert row["flops"] > 0


def test_a_model_without_convolutions_has_no_ceiling(tmp_path, capsys):
  benchmark.command.run(
    ["shapes", "rnn_nem", "quick"],
    {"parts": ["train"], "repeats": 1, "batch_size": 2, "hidden_size": 4, "num_iterations": 2},
    tmp_path,
  )
  [row] = json.loads((tmp_path / "1" / "benchmark.json").read_text())["rows"]
  assert row["flops"] > 0
  assert "share_of_ceiling" not in row
  assert "train" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("updates", "message"),
  [
    ({"parts": ["training"]}, "no part 'training'"),
    ({"compare": [{"nun_slots": 6}]}, "no config key 'nun_slots'"),
  ],
)
def test_what_cannot_be_measured(tmp_path, updates, message):
  with pytest.raises(UserError, match=message):
    run(tmp_path, **updates)
