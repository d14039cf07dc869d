import csv
import io

import numpy as np
import pytest

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


@pytest.mark.parametrize(
  ("value", "shown"),
  [
    (-1234.56, "-1234.6"),
    (9.876, "9.876"),
    (0.0096, "0.010"),
    (0.00077, "0.00077"),
    (-2e-5, "-2e-05"),
    (-9.5e-6, "0.000"),
    (0.0, "0.000"),
    (float("nan"), "-"),
    (3, "3"),
  ],
)
def test_numbers_are_as_long_as_they_are_worth(value, shown):
  assert Table(["a"], [[value]]).text().split("\n")[2] == shown


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
