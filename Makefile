# What a newcomer types: make serve, make test, make check, make bench.

PYTHON ?= python3
DIR ?= fixtures/sample
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# Debian's packages with the programs that the tests hold against us.
TOOLS := dosfstools mtools fdisk qemu-utils qemu-system-x86 ovmf libnbd-bin python3-libnbd \
	nbdkit libguestfs-tools linux-image-cloud-amd64 strace sleuthkit grub-common \
	grub-pc-bin isolinux syslinux syslinux-common xorriso genisoimage libarchive-tools btrfs-progs xfsprogs fio openssl \
	7zip u-boot-qemu isomd5sum git exfatprogs bindfs dosbox acl cloud-image-utils genimage virtinst \
	syslinux-utils grub-efi-amd64-bin
BENCH_TOOLS := nbdkit libnbd-bin fio qemu-utils mtools dosfstools xorriso genisoimage gcc libc6-dev \
	btrfs-progs xfsprogs
SECONDS ?= 3600
JOBS ?= 1

# What is measured for the lines it goes through: tests that start no other program, and few processes.
UNITS := tests/test_compare.py tests/test_support.py tests/dropins/ tests/filters/ tests/harvest/ tests/library/ tests/nbd/ tests/process/ tests/sources/ tests/synth/
NOT_UNITS := $(addprefix tests/nbd/test_,tools.py race.py faults.py promises.py) \
	$(addprefix tests/library/test_,documents.py outside.py)
OTHERS := $(NOT_UNITS) $(filter-out $(UNITS) tests/support/ tests/__pycache__/, \
	$(wildcard tests/test_*.py tests/*/))

.PHONY: help serve test coverage check adversary format bench tools bench-tools clean

help:
	@echo 'make serve [DIR=/some/directory]   serve a directory as a disk (the sample without DIR)'
	@echo 'make test [ARGS="-k fat"]          install what the tests need, and run them'
	@echo 'make test JOBS=4                   as many tests at a time, without measuring coverage'
	@echo 'make coverage                      tests of single parts: which lines none of them reaches'
	@echo 'make adversary [SECONDS=3600]      as root: change files under the eyes of readers'
	@echo 'make check                         formatter, linter, types'
	@echo 'make bench                         side by side with the peers'

serve: $(VENV)/serve.stamp
	$(BIN)/vfloppy serve $(DIR)

test: $(VENV)/test.stamp tools
ifneq ($(JOBS),1)  # the tests of one file stay together, since they share what is costly
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)
else ifeq ($(strip $(ARGS)),)
	@$(MAKE) --no-print-directory coverage
	$(BIN)/python -m pytest $(OTHERS)
else
	$(BIN)/python -m pytest $(ARGS)
endif

# In a step of its own, since it doubles the time of what it measures.
coverage: $(VENV)/test.stamp
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(UNITS) $(addprefix --ignore=,$(NOT_UNITS))
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# For as long as wished, what tests/adversary does for a minute; ARGS="--help" tells of seeds and rounds.
adversary: $(VENV)/test.stamp tools
	PYTHONPATH=tests/support $(BIN)/python -m tests.adversary --seconds $(SECONDS) $(ARGS)

check: $(VENV)/check.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	mkdir -p $(VENV)/path && ln -sfn ../.. $(VENV)/path/vfloppy
	cd $(VENV)/path && MYPYPATH=. ../bin/mypy --config-file ../../pyproject.toml \
		-p vfloppy.cli -p vfloppy.dropins -p vfloppy.filters -p vfloppy.harvest -p vfloppy.library -p vfloppy.nbd \
		-p vfloppy.process -p vfloppy.sources -p vfloppy.synth \
		-m vfloppy -m vfloppy.__main__ -m vfloppy.export -m vfloppy.options -m vfloppy.errors

format: $(VENV)/check.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# As users have it: installed, in an environment of its own. The checkout's way costs 20 ms a start.
bench: $(BIN)/python bench-tools
	$(PYTHON) -m venv $(VENV)/bench
	$(VENV)/bench/bin/python -m pip install --quiet --disable-pip-version-check '.[speed]'
	$(VENV)/bench/bin/python bench/run.py $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'vfloppy needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo 'making $(VENV) failed: on Debian, apt-get install python3-venv' >&2; exit 1; }

$(VENV)/serve.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/check.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@

tools:
	@sh tests/tools.sh $(TOOLS)
	@sh tests/newer.sh $(VENV)/newer

bench-tools:
	@sh tests/tools.sh $(BENCH_TOOLS)

clean:
	rm -rf $(VENV) build *.egg-info .coverage* .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
