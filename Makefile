# `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
GO      ?= go

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: bin/kolla-build bin/buildkitd ## bin/kolla-build and the builder that go.mod pins

# The programs are phony targets: Go's build cache decides what has to be compiled.
.PHONY: help build install bin/kolla-build bin/buildkitd quickstart test catalogue test-deploy test-offline test-faults test-bundles test-airgap test-roundtrips test-hostile check unit bench simulate microbench fuzz fuzz-jinja test-kolla test-patches release test-release deps docs clean
bin/kolla-build:
	$(GO) build -ldflags "-X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o $@ ./cmd/kolla-build
bin/buildkitd:
	$(GO) build -o $@ github.com/moby/buildkit/cmd/buildkitd

# Directories of the target "install"; DESTDIR is for building packages.
PREFIX  ?= /usr/local
DESTDIR ?=
bin      = $(DESTDIR)$(PREFIX)/bin
share    = $(DESTDIR)$(PREFIX)/share
source   = $(dir $(firstword $(MAKEFILE_LIST)))
units    = $(DESTDIR)$(PREFIX)/lib/systemd/system

install: build ## install the programs, the systemd units, the man page and the shells' completions under PREFIX (/usr/local)
	install -D -t $(bin) bin/kolla-build bin/buildkitd
	install -D -t $(DESTDIR)$(PREFIX)/lib/kolla-build $(source)examples/ci/nightly.sh
	install -D -m 644 -t $(units) $(source)examples/systemd/kolla-build-*
	sed -i 's#/usr/local/#$(PREFIX)/#' $(units)/kolla-build-*.service
	mkdir -p $(share)/man/man1 $(share)/bash-completion/completions $(share)/zsh/site-functions $(share)/fish/vendor_completions.d
	bin/kolla-build man >$(share)/man/man1/kolla-build.1
	bin/kolla-build completion bash >$(share)/bash-completion/completions/kolla-build
	bin/kolla-build completion zsh >$(share)/zsh/site-functions/_kolla-build
	bin/kolla-build completion fish >$(share)/fish/vendor_completions.d/kolla-build.fish

quickstart: ## build a small real set and push it to a registry on port 4000
	@scripts/deps.sh runtime
	@echo "building kolla-build and buildkitd (two minutes the first time)"
	@$(MAKE) --no-print-directory build
	@scripts/quickstart.sh

test: ## everything: unit, golden, scripts, real Jinja2, registry and BuildKit, end to end
	@scripts/deps.sh runtime test
	$(MAKE) --no-print-directory build
	scripts/test.sh

check: ## format, vet, staticcheck and the quick tests, within a minute if no package that many use changed
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; test -z "$$unformatted" || { echo "gofmt -w these: $$unformatted"; exit 1; }
	GOGC=400 $(GO) vet ./...
	GOGC=400 $(GO) tool staticcheck ./...
	@GO=$(GO) scripts/check.sh

unit: ## the quick tests alone
	$(GO) test -short ./...

bench: build ## a table of figures, beside docker buildx bake (and Kolla, with KOLLA_CHECKOUT=DIR)
	$(GO) run ./internal/bench $(BENCH)

simulate: ## the scheduler on recorded times, 2 to 64 slots, beside first come, first served
	$(GO) test ./pkg/build -run TestOrderIsNearTheBound -count=1 -v

microbench: ## the benchmarks of single packages, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/jinja ./pkg/render ./pkg/graph ./pkg/registry ./pkg/pipeline

catalogue: build ## build every image that Debian has packages for (SUITE, ARCH, TYPE=source|kolla, SHARD=I/N or ci, DATA_DIR, MIN_FREE)
	@scripts/deps.sh runtime test
	scripts/catalogue.sh

test-offline: ## lock, fetch and build the quickstart set without a network, and compare digests (OFFLINE=REGEX for less)
	@scripts/deps.sh runtime
	$(MAKE) --no-print-directory build
	scripts/test-offline.sh $(OFFLINE)

test-deploy: build ## kolla-ansible deploys a control plane from the images: KOLLA_ANSIBLE=DIR (STAGES, DEPLOY_DIR, SET, TAGS; docs/deploy.md)
	@scripts/deps.sh runtime deploy
	scripts/test-deploy.sh $(STAGES)

test-faults: ## hundreds of faults, from killed processes to wrong clocks: nothing may be lost
	@scripts/deps.sh runtime test
	$(MAKE) --no-print-directory bin/buildkitd
	KOLLA_TEST_BUILDKITD=$(CURDIR)/bin/buildkitd KOLLA_TEST_REQUIRE=1 KOLLA_FAULTS=$(or $(FAULTS),30) KOLLA_FAULTS_CLOCK=1 \
	  $(GO) test ./internal/faults -count=1 -v -timeout 120m

test-bundles: ## interrupt 200 saves, loads, pushes and copies each: kill, Ctrl-C, full disks, removed media (INTERRUPTIONS, ONLY="save load push copy")
	@scripts/deps.sh test
	INTERRUPTIONS='$(INTERRUPTIONS)' ONLY='$(ONLY)' GO='$(GO)' scripts/test-bundles.sh

test-airgap: build ## a set and a delta go to a site without a network: saved in parts, verified, loaded, pulled and run (AIRGAP_IMAGES, AIRGAP_TREE, AIRGAP_BASE)
	@scripts/deps.sh runtime test
	scripts/test-airgap.sh

test-roundtrips: ## images saved, converted and loaded with skopeo, crane, Debian's Docker, Podman and containerd
	@scripts/deps.sh test
	KOLLA_TEST_REQUIRE=1 $(GO) test ./pkg/bundle ./pkg/bundle/load ./pkg/engine ./pkg/engineload -run 'RoundTrip|Foreign|Containerd|Docker|Podman|OnePlatform' -count=1 -v -timeout 20m

test-hostile: ## thousands of hostile command lines, ten times as many inputs and clients (HOSTILE=N, SEED=N): no panic, no hang, nothing lost
	KOLLA_HOSTILE=$(or $(HOSTILE),3000) KOLLA_HOSTILE_SEED=$(or $(SEED),1) $(GO) test ./internal/hostile -count=1 -v -timeout 240m

fuzz: ## every fuzz target, until each has had EXECS executions in all runs (TARGETS=REGEX, EXECS=N, SECONDS_EACH=N at most, PARALLEL=N)
	@TARGETS='$(or $(TARGETS),.)' EXECS=$(or $(EXECS),10000000) SECONDS_EACH=$(or $(SECONDS_EACH),900) PARALLEL=$(PARALLEL) scripts/fuzz.sh

fuzz-jinja: ## 100,000 generated templates, and every attribute, against the real Jinja2 (JINJA_FUZZ_N, JINJA_FUZZ_SEED)
	@scripts/deps.sh test
	JINJA_FUZZ_N=$(or $(JINJA_FUZZ_N),100000) $(GO) test ./pkg/jinja -run 'TestDifferential|TestAttributes|TestLargeSources' -count=1 -v -timeout 120m

test-kolla: ## everything that compares with a checkout of OpenStack Kolla: KOLLA_CHECKOUT=DIR, and KOLLA_GIT=DIR for its branches
	@scripts/deps.sh kolla
	KOLLA_CHECKOUT=$(KOLLA_CHECKOUT) KOLLA_GIT=$(KOLLA_GIT) scripts/test-kolla.sh

test-patches: build ## build an image from a real source with a set of patches (DATA_DIR, MIRROR; root)
	@scripts/deps.sh runtime test
	scripts/test-patches.sh

release: ## static binaries, .deb, .rpm, SBOM, container image and checksums in dist/ (VERSION, ARCHES)
	@scripts/deps.sh runtime
	scripts/release.sh

test-release: ## make release twice, compare, and install, run and build with what it made (root)
	@scripts/deps.sh runtime test
	scripts/test-release.sh

docs: ## docs/options.md and examples/kolla-build.conf, from the option table
	$(GO) test ./cmd/kolla-build -run TestGeneratedDocs -update

deps: ## install Debian's packages that running and testing need (root)
	@scripts/deps.sh runtime test

clean: ## remove bin/ and dist/
	rm -rf bin dist
