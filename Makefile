# `make demo` and `make test` are all a newcomer needs. Both install what is missing (with apt-get, as root or through sudo).
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
PREFIX  ?= /usr
BIN     ?= bin
ZSHDIR  ?= $(PREFIX)/share/zsh/vendor-completions
FUZZTIME ?= 30s
SEEDS    ?= 1000
# The tests of the HTML page need a browser where .ci/deps can install one: Debian has it as a package, Ubuntu as a snap only.
BROWSER  ?= $(if $(filter debian,$(shell . /etc/os-release && echo $$ID)),1)

.PHONY: all help build programs demo test unit lint deps bench sim explore fleet mutants fuzz audit licenses check-dashboards docs install packages packages-test lab lab-test lab-bench lab-stage clean

all: build ## what make does without a target: build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-18s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: programs ## build the agent, its man pages and completions into bin/
	@mkdir -p $(BIN)/man $(BIN)/completions && $(GO) run -tags man ./cmd/pgha-agent man $(BIN)/man
	@for shell in bash zsh fish; do $(BIN)/pgha-agent completion $$shell > $(BIN)/completions/$$shell || exit; done

programs: ## build the two programs of a node alone
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/pgha-agent ./cmd/pgha-agent
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/pgha-alert ./cmd/pgha-alert

demo: build ## a failover on loopback with the real agent; ONCE=1 ends by itself
	$(GO) run ./cmd/pgha-demo --agent bin/pgha-agent $(if $(ONCE),--once)

test: deps lint unit ## everything but the lab

deps: ## install what the tests need: PostgreSQL, systemd's analyzer, promtool, Chromium
	@.ci/deps

unit: ## every test but the lab, under the race detector
	PGHA_REQUIRE_POSTGRES=1 PGHA_REQUIRE_PROMTOOL=1 PGHA_REQUIRE_BROWSER=$(BROWSER) $(GO) test -race -shuffle=on -timeout 20m ./...
	$(GO) test -timeout 20m ./cmd/pgha-sim/explore # under the race detector it searches a little of it only

lint: ## vet, golangci-lint, and whether each deliberate fault still fits the code
	$(GO) vet ./...
	$(GO) tool -modfile=.ci/tools.mod golangci-lint run
	@CHECK=1 .ci/mutants

bench: ## the figures of docs/performance.md
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./cmd/pgha-bench

sim: ## simulated clusters under faults, with the real agents, SEEDS of them: docs/safety.md
	$(GO) run ./cmd/pgha-sim --seeds $(SEEDS)

explore: ## every interleaving of a small model, in budgets that take longer than a test: docs/safety.md
	$(GO) run ./cmd/pgha-sim explore --long

fleet: ## table and picture of docs/performance.md: many clusters of one account fail over at once
	$(GO) run ./cmd/pgha-sim fleet --svg docs/fleet.svg

mutants: ## deliberate faults in gate, guard, core and journal, each of which a test must find
	@.ci/mutants

fuzz: ## every fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

check-dashboards: deps ## ask every query of the dashboards in a Prometheus with the scrapes of a lab run (SCRAPES)
	PGHA_REQUIRE_PROMTOOL=1 PGHA_SCRAPES=$(abspath $(or $(SCRAPES),dist/lab)) $(GO) test -count=1 ./deploy -run LabRun -v

audit: ## licenses and known vulnerabilities of what is linked in
	@.ci/audit

licenses: ## the first half of audit, which needs nothing but the modules
	@.ci/audit licenses

docs: ## regenerate docs/metrics.md, docs/commands.md, docs/doctor.md, and the tables of docs/operate.md
	$(GO) test ./agent/metrics ./agent/doctor ./agent/status ./agent/explain ./cmd/pgha-agent -run 'Documented' -update

# The lab needs root. It is built as whoever calls make, so that root's environment does not matter.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=SCENARIOS,LAB_CACHE,LAB_MODULES,LAB_HANDLER)
RUNS ?= 5

lab: lab-stage ## a real cluster in two virtual machines, until Ctrl-C; see docs/lab.md
	$(SUDO) bin/pgha-lab up

# Scenario 18 installs the deb.
comma := ,
lab-test: lab-stage $(if $(or $(if $(SCENARIOS),,all),$(filter 18%,$(subst $(comma), ,$(SCENARIOS)))),packages) ## break it in every way; SCENARIOS=1,2,4 chooses
	$(SUDO) bin/pgha-lab test

lab-bench: lab-stage ## failovers compared with a shell resource agent, RUNS of each, into dist/lab
	$(SUDO) cmd/pgha-lab/deps.sh bench
	$(SUDO) bin/pgha-lab bench --runs $(RUNS)
	$(SUDO) bin/pgha-lab bench --runs 2 --modes found
	$(SUDO) bin/pgha-lab bench-dns --runs $(RUNS)
	bin/pgha-lab report | $(SUDO) tee dist/lab/bench.md

lab-stage: build ## what the lab needs, without starting it
	$(SUDO) cmd/pgha-lab/deps.sh
	$(GO) build -o bin/pgha-lab ./cmd/pgha-lab
	@rm -rf dist/lab-root && $(MAKE) --no-print-directory install DESTDIR=$(CURDIR)/dist/lab-root >/dev/null

install: ## install what `make build` made on this node; see docs/install.md
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(BIN)/pgha-agent $(BIN)/pgha-alert
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system deploy/pgha-agent.service deploy/pgha-agent.socket
	install -D -m 0644 deploy/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/pgha-agent.conf
	install -D -m 0644 deploy/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/pgha-agent.conf
	test -e $(DESTDIR)/etc/pgha-agent/config.toml || install -D -m 0640 deploy/config.toml $(DESTDIR)/etc/pgha-agent/config.toml
	install -D -m 0755 deploy/ocf/route53 $(DESTDIR)$(PREFIX)/lib/ocf/resource.d/pgha/route53
	install -D -m 0755 deploy/register-alert.sh $(DESTDIR)$(PREFIX)/share/pgha-agent/register-alert.sh
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/pgha-agent deploy/iam-policy.json
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/pgha-agent/prometheus deploy/prometheus/pgha-agent.rules.yml deploy/prometheus/scrape.example.yml deploy/prometheus/alertmanager.example.yml
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/pgha-agent/grafana deploy/grafana/*.json
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/pgha-agent/cloudwatch deploy/cloudwatch/alarms.yaml deploy/iam-policy-cloudwatch.json
	install -d $(DESTDIR)$(PREFIX)/share/pacemaker/alerts && ln -sfn ../../../bin/pgha-alert $(DESTDIR)$(PREFIX)/share/pacemaker/alerts/pgha-alert
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 $(BIN)/man/*.8 && gzip -9nf $(DESTDIR)$(PREFIX)/share/man/man8/pgha-agent*.8
	ln -sfn pgha-agent-alert.8.gz $(DESTDIR)$(PREFIX)/share/man/man8/pgha-alert.8.gz
	install -D -m 0644 $(BIN)/completions/bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/pgha-agent
	install -D -m 0644 $(BIN)/completions/fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/pgha-agent.fish
	install -D -m 0644 $(BIN)/completions/zsh $(DESTDIR)$(ZSHDIR)/_pgha-agent
	@if [ -z "$(DESTDIR)" ]; then systemd-sysusers && systemd-tmpfiles --create pgha-agent.conf && systemctl daemon-reload; fi

packages: ## deb, rpm, bill of materials and checksums for amd64 and arm64, into dist/packages
	@.ci/packages dist/packages

packages-test: ## the packages without a machine: reproducible, lintian, installed, upgraded, removed; see docs/packages.md
	@.ci/packages-test

clean: ## remove bin and dist
	rm -rf bin dist
