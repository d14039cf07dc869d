# make train   sets up, generates the default data set, trains on it and evaluates
# make test    sets up and runs the tests
# make lint    checks format and lint
# make notebooks  runs the notebooks and keeps their output
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DATA := data/tetrominoes_train.tfrecords

.PHONY: install train test notebooks lint clean
.DELETE_ON_ERROR:

install: $(VENV)/installed

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

train: install $(DATA)
	$(RUN) -m experiments.train with tetrominoes quick

$(DATA): | install
	$(RUN) -m datasets.generate tetrominoes --num 60640 --out data/

test: install
	$(RUN) -m pytest

notebooks: install
	$(RUN) -m notebooks.execute

lint: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
