"""datasets.options: what makes no sense is refused in a sentence, and splits never overlap."""

import hypothesis
import hypothesis.strategies as st
import pytest

import datasets
from datasets import Filter, Form, Order, Splits


@pytest.mark.parametrize(
  ("kind", "values", "says"),
  [
    (Splits, {"num_train": -1}, "num_train must be at least 0, got -1"),
    (Splits, {"num_validation": 8.5}, "num_validation must be a whole number, got 8.5"),
    (Splits, {"num_test": "many"}, "num_test must be a whole number, got 'many'"),
    (Splits, {"num_test": None}, "must be whole numbers"),
    (Splits, {"num_train": True}, "num_train must be a whole number, got True"),
    (Splits, {"num_train": float("nan")}, "num_train must be a whole number"),
    (Splits, {"num_train": float("inf")}, "num_train must be a whole number"),
    (Filter, {"min_objects": -2}, "min_objects must be at least 0"),
    (Filter, {"min_objects": 4, "max_objects": 3}, "min_objects must be at most max_objects"),
    (Filter, {"num_images": 0}, "num_images must be at least 1"),
    (Order, {"seed": -1}, "seed must be at least 0"),
    (Order, {"start_batch": -1}, "start_batch must be at least 0"),
    (Order, {"input_pipeline_id": 2, "num_input_pipelines": 2}, "must be in 0..1, got 2"),
    (Form, {"image_size": 14}, "image_size must be a height and a width"),
    (Form, {"image_size": (14, 0)}, "image_size must be a height and a width"),
    (Form, {"num_frames": 0}, "num_frames must be at least 1"),
  ],
)
def test_refusals(kind, values, says):
  with pytest.raises(datasets.DataError) as error:
    kind(**values)
  assert says in str(error.value)
  assert "\n" not in str(error.value)


def test_whole_numbers_of_other_types():
  splits = Splits(4.0, 0, 0)
  assert (splits.num_train, type(splits.num_train)) == (4, int)
  assert Form(image_size=[32, 48]).image_size == (32, 48)


sizes = st.integers(0, 50)


@hypothesis.given(sizes, st.one_of(st.none(), st.integers(1, 50)), sizes, sizes)
def test_splits_share_the_records_out(count, train, validation, test):
  ranges = Splits(train, validation, test).ranges(count)
  parts = [ranges[name] for name in ("train", "validation", "test")]
  numbers = [number for part in parts for number in part]
  assert numbers == list(range(len(numbers)))  # no gap, none twice, in this order
  assert len(numbers) <= count
  assert len(parts[1]) <= validation
  assert len(parts[2]) <= test
  if train is None:
    assert len(numbers) == count or count < validation + test or not parts[0]
  else:
    assert len(parts[0]) <= train


def test_a_spec_brings_its_own_filter():
  clevr, clevr6 = datasets.get_spec("clevr"), datasets.get_spec("clevr6")
  assert not Filter().for_spec(clevr).by_number
  wanted = Filter(num_images=5).for_spec(clevr6)
  assert (wanted.min_objects, wanted.max_objects, wanted.num_images) == (3, 6, 5)
  assert Filter(max_objects=4).for_spec(clevr6).min_objects is None  # asked for otherwise
  assert str(Filter().for_spec(datasets.get_spec("clevr_single"))) == "exactly 1"
