import csv
import io

import numpy as np

from experiments.support.tables import Spread, Table

TABLE = Table(
  ["data", "ARI-FG", "MSE"],
  [["clevr_6", Spread(0.988, 0.0), 0.00123456], ["50% & more", Spread(0.5), None]],
)


def test_spread_is_the_sample_deviation():
  values = [0.3, 0.5, 0.9, 0.2]
  spread = Spread.over(values)
  np.testing.assert_allclose(spread, [np.mean(values), np.std(values, ddof=1)])
  assert Spread.over([0.25]) == Spread(0.25, None)


def test_text_is_aligned():
  lines = TABLE.text().split("\n")
  assert lines[2].split("  ")[0] == "clevr_6"
  assert "0.988 ± 0.000" in lines[2]
  assert lines[2].index("0.0012") == lines[3].index("-") == lines[0].index("MSE")


def test_csv_keeps_every_digit():
  header, first, second = csv.reader(io.StringIO(TABLE.csv()))
  assert header == ["data", "ARI-FG", "ARI-FG std", "MSE"]
  assert first == ["clevr_6", "0.988", "0.0", "0.00123456"]
  assert second == ["50% & more", "0.5", "", ""]


def test_latex_escapes():
  text = TABLE.latex()
  assert r"clevr\_6 & $0.988 \pm 0.000$ & $0.0012$ \\" in text
  assert r"50\% \& more & $0.500$ & - \\" in text
  assert text.count(r"\\") == 3
