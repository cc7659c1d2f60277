# Builds, runs, tests and deploys Lectern. `make` without a target lists the targets.
#
# Needs Rust (rustup), Python 3.10 or newer with venv, make and a C compiler. `make web` and `make browser` also need Node 20
# with npm, and `make bench-events` needs Node 20. `make browser` and `make bench-upload` also need Chromium. `make
# e2e-malware` also needs ClamAV, `make bench-events` also needs Redis, and both install it with apt where they can. The
# Makefile installs all other tools: Python tools into .venv, Cargo tools into .local/tools.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# ---- settings -------------------------------------------------------------------------------------------------------

PYTHON ?= python3
FILE ?=
SUBMISSION ?=
# The stage, the processor architecture and further parameters of template.yaml (KEY=VALUE …) for `make deploy`.
STAGE ?= dev
ARCHITECTURE ?= arm64
PARAMETERS ?=
# Parameters of the end-to-end tests' stack: short waits, and a small upload limit that a test can exceed. The functions'
# timeouts are long, so that a busy machine ends none of them; tests that need a dying function kill it.
E2E_PARAMETERS ?= CallbackTimeoutSeconds=8 MaxUploadBytes=50000000 \
	ReceiveUploadTimeoutSeconds=20 ReceiveUploadVisibilitySeconds=24 \
	ThirdPartyRequestsPerSecond=1000 ThirdPartyBurst=100000 ThirdPartyMaxInFlight=250 \
	TransferTimeoutSeconds=40 TransferVisibilitySeconds=48 TransferRequestSeconds=6 \
	NormalizeTimeoutSeconds=25 NormalizeVisibilitySeconds=30 StoppedDocumentSeconds=2
# Parameters of the load and chaos tests' stack: limits that a run of a minute reaches. tests/…/paced/load.rs repeats them.
PACED_PARAMETERS ?= ThirdPartyRequestsPerSecond=4 ThirdPartyBurst=20 ThirdPartyMaxInFlight=16 \
	CallbackTimeoutSeconds=20 ReceiveUploadTimeoutSeconds=20 ReceiveUploadVisibilitySeconds=24 \
	TransferTimeoutSeconds=25 TransferVisibilitySeconds=30 TransferRequestSeconds=4 \
	NormalizeTimeoutSeconds=25 NormalizeVisibilitySeconds=30
# Parameters of the browser tests' stack: a file in parts fits, and the third party's limits hold up no test.
BROWSER_PARAMETERS ?= CallbackTimeoutSeconds=30 ThirdPartyRequestsPerSecond=1000 ThirdPartyBurst=100000
DOCUMENTS ?= 500
SUBMISSIONS ?= 100000
SEED ?=
TEST ?=
ROUNDS ?= 10
FUZZ_SECONDS ?= 20

CARGO_DENY_VERSION := 0.20.2
CARGO_MACHETE_VERSION := 0.9.2
CARGO_FUZZ_VERSION := 0.13.2
CARGO_NEXTEST_VERSION := 0.9.143

HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
VENV := $(CURDIR)/.venv
TOOLS := $(CURDIR)/.local/tools
# The rival of make bench-events that is written in Python.
CELERY := $(CURDIR)/.local/bench-events/venv
LOCAL := $(VENV)/bin/python tools/local.py
SMOKE := $(VENV)/bin/python tools/smoke.py
# An installed nextest is used, because building one takes minutes. .config/nextest.toml says which versions are new enough.
NEXTEST := $(if $(shell command -v cargo-nextest),rust,$(TOOLS)/bin/cargo-nextest)

# `cargo test` and the functions share one target triple, so that nothing is compiled twice. tools/local/build.py adds the
# settings that only the local build needs.
export CARGO_BUILD_TARGET := $(HOST)
# Random tests use the same seed in each run, so that a failure comes from a change. `make explore` and `make chaos` use
# new seeds.
export PROPTEST_RNG_SEED := $(or $(SEED),1)
export LECTERN_SEED := $(or $(SEED),1)
export CARGO_NET_RETRY ?= 10
export PIP_RETRIES ?= 10
export SAM_CLI_TELEMETRY := 0
export __SAM_CLI_APP_DIR := $(VENV)/sam
export PATH := $(VENV)/bin:$(TOOLS)/bin:$(PATH)

# ---- running ---------------------------------------------------------------------------------------------------------

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' \
		| while IFS=$$'\t' read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

.PHONY: run
run: $(VENV)/.stamp ## Start the local cloud, deploy, send samples/ through the workflow and print states and records
	@$(LOCAL) run

.PHONY: upload
upload: $(VENV)/.stamp ## Send another file through the running stack: FILE=… (SUBMISSION=…)
	@test -n "$(FILE)" || { echo 'Failed: FILE is missing.'; echo 'Example: make upload FILE=path/to/lesson.mp4'; exit 1; }
	@$(LOCAL) upload --submission "$(SUBMISSION)" "$(FILE)"

.PHONY: status
status: $(VENV)/.stamp ## Show what is running
	@$(LOCAL) status

.PHONY: cli
cli: rust ## Build the command lectern for teachers, evaluators and operators, and print its path
	@cargo build --release --locked -p lectern-cli
	@echo "$${CARGO_TARGET_DIR:-$(CURDIR)/target}/$(HOST)/release/lectern"

.PHONY: stop
stop: $(VENV)/.stamp ## Stop the local clouds of make run and make e2e-one; keep their logs in .local
	@$(LOCAL) down
	@if [ -e .local/test/processes.json ]; then $(LOCAL) down --dir .local/test; fi

# ---- checking -------------------------------------------------------------------------------------------------------

.PHONY: test
test: lint validate deny web unit cost e2e api-fuzz browser ## Run every check and every test, including the end-to-end tests

.PHONY: fmt
fmt: $(VENV)/.stamp ## Format the Rust and Python code
	cargo fmt --all
	ruff format

.PHONY: lint
lint: $(VENV)/.stamp ## Check the format, run clippy and ruff, build the docs; warnings are errors
	cargo fmt --all --check
	ruff format --check
	ruff check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

.PHONY: validate
validate: $(VENV)/.stamp ## Check template.yaml
	AWS_DEFAULT_REGION=us-east-1 sam validate --lint --template-file template.yaml
	cfn-lint template.yaml tools/smoke/template.yaml tools/smoke/stub/template.yaml

NODE_MODULES := tools/web/node_modules

.PHONY: web
web: $(NODE_MODULES)/.package-lock.json ## Check the types of the pages in web/, and that the vendored file is that of its package
	cd tools/web && npm exec --offline -- tsc --project .
	sed '/^\/\/# sourceMappingURL/d' $(NODE_MODULES)/lit-html/lit-html.js | cmp - web/vendor/lit-html.js

$(NODE_MODULES)/.package-lock.json: tools/web/package-lock.json
	@cd tools/web && npm ci --no-audit --no-fund --silent
	@touch $@

.PHONY: deny
deny: $(TOOLS)/bin/cargo-deny $(TOOLS)/bin/cargo-machete ## Check licences, bans, sources and unused dependencies
	cargo deny --locked check --hide-inclusion-graph --allow unused-wrapper licenses bans sources
	cargo machete

.PHONY: advisories
advisories: $(TOOLS)/bin/cargo-deny ## Compare the dependencies with the RustSec advisories; needs the network
	cargo deny --locked check --hide-inclusion-graph advisories

.PHONY: unit
unit: $(NEXTEST) ## Run the unit, adapter, contract and path tests
	cargo test --workspace --locked --doc
	cargo nextest run --workspace --locked

# The tests of the release before read the golden sets of today, as its code does after a rollback.
.PHONY: golden-before
golden-before: $(NEXTEST) ## Run the golden tests of the release before on today's sets; nothing before the first release
	@release=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || { echo 'There is no release yet.'; exit 0; }; \
	rm -rf .local/before; git worktree prune; git worktree add --detach .local/before "$$release"; \
	trap 'git worktree remove --force .local/before' EXIT; \
	cp -r tests/golden/. .local/before/tests/golden/; cd .local/before; \
	cargo nextest run --workspace --locked -E 'test(/a07_every_golden_set_is_read/)'

.PHONY: explore
explore: $(NEXTEST) ## Run the unit, adapter, contract and path tests with new random seeds and print the seeds: ROUNDS=10
	@cargo nextest run --workspace --locked --no-run
	@for round in $$(seq $(ROUNDS)); do \
		export PROPTEST_RNG_SEED="$$RANDOM$$RANDOM"; echo "== SEED=$$PROPTEST_RNG_SEED"; \
		cargo nextest run --workspace --locked --cargo-quiet --status-level fail; \
	done

# Runs $(3) on a local cloud in the directory $(1) with the parameters $(2). The local cloud ends with the run.
define on_a_local_cloud
	@mkdir -p $(1)/logs
	@trap 'code=$$?; trap "" INT TERM; $(LOCAL) down --dir $(1) >$(1)/logs/down.log 2>&1 || { \
		cat $(1)/logs/down.log; code=1; }; exit $$code' EXIT; \
	trap 'exit 130' INT; trap 'exit 143' TERM HUP; \
	export LECTERN_STACK="$(CURDIR)/$(1)/stack.json"; \
	$(LOCAL) up --dir $(1) $(addprefix --parameter ,$(2)); \
	$(3)
endef
E2E := cargo nextest run -p lectern-tests --features end-to-end --test end_to_end --locked

.PHONY: e2e
e2e: e2e-quick e2e-paced e2e-malware ## Run the end-to-end tests, each group on its own temporary local cloud

.PHONY: e2e-quick
e2e-quick: export SFN_WAIT_SCALE := 0.05
e2e-quick: $(VENV)/.stamp $(NEXTEST)
	$(call on_a_local_cloud,.local/test,$(E2E_PARAMETERS),$(E2E) --profile end-to-end; \
		$(SMOKE) --stack-file .local/test/stack.json --bound 15 --with-faults)

.PHONY: e2e-one
e2e-one: export SFN_WAIT_SCALE := 0.05
e2e-one: $(VENV)/.stamp $(NEXTEST) ## Run the end-to-end tests named TEST=… on a stack that stays up until make stop
	@test -n "$(TEST)" || { echo 'Failed: TEST is missing.'; echo 'Example: make e2e-one TEST=case_31'; exit 1; }
	@$(LOCAL) up --dir .local/test $(addprefix --parameter ,$(E2E_PARAMETERS))
	@LECTERN_STACK="$(CURDIR)/.local/test/stack.json" $(E2E) --ignore-default-filter --no-capture $(TEST)

.PHONY: e2e-paced
e2e-paced: $(VENV)/.stamp $(NEXTEST)
	$(call on_a_local_cloud,.local/paced,$(PACED_PARAMETERS),$(E2E) --profile paced --no-capture)

.PHONY: browser
browser: $(VENV)/.stamp $(NODE_MODULES)/.package-lock.json ## Run the browser tests on a local cloud; UPDATE_SCREENSHOTS=1 renews docs/screenshots
	$(call on_a_local_cloud,.local/browser,$(BROWSER_PARAMETERS),pytest tests/browser)

# schemathesis takes about a minute.
.PHONY: api-fuzz
api-fuzz: $(VENV)/.stamp ## Send generated requests to the API on a local cloud as each role: no 5xx, no undocumented answer
	$(call on_a_local_cloud,.local/fuzz,$(BROWSER_PARAMETERS),$(LOCAL) fuzz --dir .local/fuzz)

.PHONY: e2e-malware
e2e-malware: export SFN_WAIT_SCALE := 0.05
e2e-malware: $(VENV)/.stamp $(NEXTEST) clamav
	$(call on_a_local_cloud,.local/malware,$(E2E_PARAMETERS) MalwareScan=yes,$(E2E) --profile malware)

# On the local cloud, ClamAV plays GuardDuty. It needs no database of signatures: the repository has one of its own.
.PHONY: clamav
clamav: ## Install ClamAV with apt, if it is missing: a local cloud with MalwareScan=yes needs it
	$(call apt_package,clamscan,clamav)

.PHONY: chaos
chaos: export LECTERN_DOCUMENTS := $(DOCUMENTS)
chaos: export LECTERN_SEED := $(SEED)
chaos: e2e-paced ## Run the load and chaos tests with many documents: DOCUMENTS=500; SEED=… repeats a run

.PHONY: guide
guide: $(VENV)/.stamp ## Play the scenes of docs/operating.md on a local cloud and replace the outputs in it
	$(call on_a_local_cloud,.local/guide,CallbackTimeoutSeconds=30,$(LOCAL) guide --dir .local/guide)

.PHONY: fuzz
fuzz: $(TOOLS)/bin/cargo-fuzz ## Fuzz every parser of untrusted content for a bounded time: FUZZ_SECONDS=20 for each
	@for target in $$(cargo fuzz list); do \
		echo "== $$target, $(FUZZ_SECONDS) s"; \
		cargo fuzz run --sanitizer none "$$target" -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -print_final_stats=0 -verbosity=0; \
	done

# ---- measuring ------------------------------------------------------------------------------------------------------

.PHONY: bench
bench: rust ## Measure the memory for streaming a 4 GiB file, in both directions, in the release profile
	@cargo run --release --locked -p lectern-aws --example stream_memory

.PHONY: bench-latency
bench-latency: $(VENV)/.stamp ## Measure a document's time in the running stack beyond the third party's delay
	@$(LOCAL) latency

.PHONY: bench-upload
bench-upload: $(VENV)/.stamp ## Measure how fast a file of 200 MB is uploaded to a local cloud, and the processor time it takes
	@cargo build --release --locked -p lectern-cli
	$(call on_a_local_cloud,.local/bench,,$(LOCAL) bench-upload --dir .local/bench)

.PHONY: bench-events
bench-events: $(VENV)/.stamp $(CELERY)/.stamp redis ## Measure how fast events are delivered, beside a Node client and a worker of ten threads
	@cargo build --release --locked -p lectern-aws --example deliver_events --example event_sink
	@$(LOCAL) bench-events

.PHONY: redis
redis: ## Install Redis with apt, if it is missing: make bench-events needs it
	$(call apt_package,redis-server,redis-server)

.PHONY: bench-start
bench-start: $(VENV)/.stamp ## Measure the functions' size and their processor time until the first poll, beside boto3
	@cargo build --release --locked $(addprefix --bin ,$(notdir $(wildcard functions/*)))
	@$(LOCAL) start

.PHONY: lists
lists: export LECTERN_SUBMISSIONS := $(SUBMISSIONS)
lists: $(VENV)/.stamp $(NEXTEST) ## Count what a page of each list costs, with 150 and with SUBMISSIONS=100000 submissions
	$(call on_a_local_cloud,.local/lists,$(E2E_PARAMETERS),$(E2E) --ignore-default-filter --no-capture page_of_a_list)

.PHONY: cost
cost: $(VENV)/.stamp ## Count what a document costs on AWS, in a run on a local cloud
	$(call on_a_local_cloud,.local/cost,,$(LOCAL) cost --dir .local/cost)

# ---- building and deploying to AWS ----------------------------------------------------------------------------------

# One call of cargo links the functions in parallel. `sam build` then builds them one by one and finds nothing to do.
.PHONY: build
build: $(VENV)/.stamp ## Build the functions for AWS (release; ARCHITECTURE=arm64|x86_64)
	@unset CARGO_BUILD_TARGET; TIMEFORMAT='Built in %0R s, with %0U s of processor time.'; time { \
		cargo lambda build --release --locked $(if $(filter arm64,$(ARCHITECTURE)),--arm64) \
			$(addprefix --bin ,$(notdir $(wildcard functions/*))); \
		sam build --parallel --parameter-overrides Architecture=$(ARCHITECTURE); }
	@wc -c .aws-sam/build/*/bootstrap

.PHONY: deploy
deploy: build ## Deploy to AWS: STAGE=dev|prod (PARAMETERS="KEY=VALUE …")
	@grep -q '^\[$(STAGE)\.deploy\.parameters\]' samconfig.toml && test "$(STAGE)" != local || { \
		echo 'Failed: unknown stage $(STAGE).'; echo 'Use STAGE=dev or STAGE=prod.'; exit 1; }
	sam deploy --config-env $(STAGE) \
		--parameter-overrides Stage=$(STAGE) Architecture=$(ARCHITECTURE) Release=$$(date +%s) \
		GradualDeployment=$(if $(filter prod,$(STAGE)),true,false) $(PARAMETERS)

.PHONY: stub
stub: $(VENV)/.stamp ## Deploy a third party to try a stage on AWS with: STAGE=dev; see docs/deploying.md
	sam deploy --config-file "$(CURDIR)/samconfig.toml" --config-env $(STAGE) \
		--template-file tools/smoke/stub/template.yaml --stack-name lectern-$(STAGE)-stub \
		--s3-prefix lectern-$(STAGE)-stub --parameter-overrides LecternStack=lectern-$(STAGE)

.PHONY: smoke
smoke: $(VENV)/.stamp $(if $(filter local,$(STAGE)),,cli) ## Check on a deployed stack what only AWS can show: STAGE=dev|prod|local
	@$(SMOKE) --stage $(STAGE)

.PHONY: clean
clean: ## Stop the local clouds and remove everything that was built or downloaded
	@for dir in .local/test .local/paced .local/guide .local/browser .local/bench .local/fuzz .local/lists .local; do \
		if [ -e "$$dir/processes.json" ]; then $(LOCAL) down --dir "$$dir"; fi; done
	rm -rf target .aws-sam .local .venv fuzz/target $(NODE_MODULES)

# ---- installing tools -----------------------------------------------------------------------------------------------

.PHONY: rust
rust:
	@test -n "$(HOST)" || { echo 'Failed: rustc does not run.'; echo 'Install Rust with rustup, see the README.'; exit 1; }

# SAM CLI checks for a newer version once a week; the file metadata.json says that it just did.
$(VENV)/.stamp: requirements.txt | rust
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo 'Failed: $(PYTHON) is missing or older than 3.10.'; echo 'Use another one: make PYTHON=python3.12 …'; exit 1; }
	@echo 'Installing the Python tools into .venv (about a minute) …'
	@$(PYTHON) -m venv --clear "$(VENV)"
	@"$(VENV)/bin/python" -m pip install --quiet --no-deps --require-hashes --disable-pip-version-check \
		-r requirements.txt
	@mkdir -p "$(VENV)/sam"
	@echo '{"telemetryEnabled": false, "lastVersionCheck": 32503680000}' >"$(VENV)/sam/metadata.json"
	@touch $@

$(CELERY)/.stamp: tools/local/bench_events/requirements.txt
	@$(PYTHON) -m venv --clear "$(CELERY)"
	@"$(CELERY)/bin/python" -m pip install --quiet --no-deps --require-hashes --disable-pip-version-check -r $<
	@touch $@

# Installs Debian's package $(2), if the command $(1) is missing.
define apt_package
	@if command -v $(1) >/dev/null; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo 'Failed: $(1) is missing.'; \
		echo 'Install $(2) with the package manager of this machine.'; exit 1; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=; elif sudo -n true 2>/dev/null; then as_root='sudo -n'; else \
		echo 'Failed: $(1) is missing, and this user may not install packages.'; \
		echo 'Run as root: apt-get install --no-install-recommends $(2)'; exit 1; fi; \
	$$as_root apt-get update -qq; $$as_root apt-get install -qq --no-install-recommends $(2)
endef

# Debug builds take a third of the time, and the tools are fast enough.
define cargo_tool
	@echo 'Building $(1) $(2) into .local/tools (about a minute) …'
	@env -u CARGO_BUILD_TARGET cargo install --quiet --locked --debug --root "$(TOOLS)" --version $(2) $(1)
	@touch $@
endef

$(TOOLS)/bin/cargo-deny: Makefile | rust
	$(call cargo_tool,cargo-deny,$(CARGO_DENY_VERSION))

$(TOOLS)/bin/cargo-machete: Makefile | rust
	$(call cargo_tool,cargo-machete,$(CARGO_MACHETE_VERSION))

$(TOOLS)/bin/cargo-nextest: Makefile | rust
	$(call cargo_tool,cargo-nextest,$(CARGO_NEXTEST_VERSION))

$(TOOLS)/bin/cargo-fuzz: Makefile | rust
	$(call cargo_tool,cargo-fuzz,$(CARGO_FUZZ_VERSION))
