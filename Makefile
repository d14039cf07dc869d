# make train   sets up, generates the default data set, trains on it and evaluates
# make test    sets up and runs the tests
# make lint    checks format and lint
# make wheel   builds dist/*.whl and tries it in another folder
# make notebooks  runs the notebooks and keeps their output
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(VENV)/bin/pip --disable-pip-version-check
DATA := data/tetrominoes_train.tfrecords

.PHONY: install train test notebooks lint wheel clean
.DELETE_ON_ERROR:

install: $(VENV)/installed

# uv unpacks at once what pip does one after the other, in half the processor's time. It does not read
# pip's settings: where it does not find the packages, as with an index of one's own, pip looks.
$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet uv && $(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(RUN) \
	  -r requirements-dev.txt || $(PIP) install --quiet -r requirements-dev.txt
	touch $@

train: install $(DATA)
	$(RUN) -m experiments.train with tetrominoes quick

$(DATA): | install
	$(RUN) -m datasets.generate tetrominoes --num 60640 --out data/

# A process a core, for building and tracing small models, most of a test, uses one; and one more, for
# some tests wait for processes of their own.
test: install
	$(RUN) -m pytest --numprocesses $$($(RUN) -c "import os; print(os.cpu_count() + 1)") --dist loadfile --no-loadscope-reorder

notebooks: install
	$(RUN) -m notebooks.execute

lint: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

# Into an empty folder, without the dependencies, which the virtual environment has.
wheel: install
	rm -rf build dist
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .
	$(PIP) install --quiet --no-deps --target dist/site dist/*.whl
	cd dist && PYTHONPATH=site ../$(RUN) -m experiments.train print_config with tetrominoes quick > /dev/null
	@echo "$$(ls dist/*.whl) is whole"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
