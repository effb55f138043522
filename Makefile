# make demo: set up, train on drawn faces, evaluate, plot, look at a photograph.   make test: set up, run the tests.
# With PYTHON=... another interpreter makes the environment; with VENV=... it lies elsewhere.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: $(VENV)/installed
	rm -rf runs/demo
	$(RUN) preprocess_fer2013.py --dataset synthetic --faces 6144 --output data/synthetic.h5
	$(RUN) train.py --recipe demo --dataset synthetic --name demo
	$(RUN) evaluate.py --checkpoint runs/demo/best.pt --output runs/demo/evaluation
	$(RUN) plot_confusion_matrix.py --predictions runs/demo/evaluation/predictions.csv --output runs/demo/confusion_matrix.pdf
	$(RUN) visualize.py --checkpoint runs/demo/best.pt --output runs/demo/portrait.png
	@echo
	@echo "Look at runs/demo: curves.png, evaluation/*.png, confusion_matrix.pdf, portrait.png"

test: $(VENV)/installed-dev
	$(RUN) -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

clean:
	rm -rf "$(VENV)" runs/demo data/synthetic.h5
