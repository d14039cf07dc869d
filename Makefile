# make train   sets up, generates the default data set, trains on it and evaluates
# make test    sets up and runs the tests
# make lint    checks format and lint
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DATA := data/tetrominoes_train_14x14.tfrecords

.PHONY: install train test lint clean
.DELETE_ON_ERROR:

install: $(VENV)/installed

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

train: install $(DATA)
	$(RUN) -m experiments.train with tetrominoes quick

$(DATA): | install
	$(RUN) -m datasets.generate tetrominoes --image-size 14 --block-size 2 --num 60640 --out data/

test: install
	$(RUN) -m pytest

lint: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
