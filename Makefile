# Every target works in all modules of the repository, unless it says otherwise.
MODULES = $(sort $(patsubst %/go.mod,%,$(shell find . -name go.mod -not -path '*/.*')))
TESTED = $(filter-out ./bench ./torture ./release,$(MODULES))
# Those whose goroutines share most.
RACED = . ./mcptasks ./sqlitestore
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

# $(call each,MODULES,COMMAND) runs a command in each module, up to a failure.
each = set -e; for m in $(1); do echo "-- $$m: $(2)"; (cd $$m && $(2)); done

# The tests that need a server find it by these variables.
redis = set -e; server=$$(bash scripts/ensure-redis.sh); export TASKSTORE_REDIS_SERVER="$$server"
postgres = bin=$$(bash scripts/ensure-postgres.sh); export TASKSTORE_POSTGRES_BIN="$$bin"
chromium = browser=$$(bash scripts/ensure-chromium.sh); export TASKSTORE_CHROMIUM="$$browser"

.PHONY: help test race faults torture mix suites compat check cross conformance interop consumers mutants bench release need-go

help: ## list the targets, with the time that each takes on two cores, once its modules are built
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

# The tag only adds tests: one run has all of them. Tests mostly wait, for leases and
# failovers, so two modules share the processors. The lines of a package come together.
test: need-go ## run the tests of the library, the command and the examples; finds redis-server, PostgreSQL, PgBouncer and Chromium or installs them (7 min)
	@$(redis); $(postgres); $(chromium); \
	echo "testing $(TESTED), two at a time"; \
	$(MAKE) --no-print-directory --keep-going -j2 $(TESTED:%=in/%)

$(TESTED:%=in/%): in/%:
	@echo "-- $*: go test"; cd $* && go test -parallel 8 -count=1 -timeout 7m -tags integration ./...

race: need-go ## run those of the library with the race detector; needs a C compiler (11 min)
	@[ "$$(go env CGO_ENABLED)" = 1 ] || { echo "The race detector needs a C compiler: install gcc."; exit 1; }
	@$(redis); $(postgres); \
	$(call each,$(RACED),go test -race -parallel 8 -count=1 -timeout 9m -tags integration ./...)

faults: need-go ## check histories of calls under lost answers, crashes and failovers (4 min)
	@$(redis); $(postgres); $(call each,./torture,go test -count=1 -timeout 8m -tags integration ./...)

torture: need-go ## the same with new seeds (an hour or more)
	@$(redis); $(postgres); export TASKSTORE_TORTURE=long; $(call each,./torture,go test -v -count=1 -timeout 3h -tags integration ./...)

mix: need-go ## mix batches on PostgreSQL, and check that they do not deadlock (an hour)
	@set -e; $(postgres); cd pgstore && TASKSTORE_POSTGRES_MIX=1h go test -v -count=1 -timeout 2h -tags integration -run Deadlock .

suites: need-go ## run the tests of tasks and mcptasks on SQLite and PostgreSQL too (2 min)
	@bash scripts/suites.sh

compat: need-go ## run the store's live tests on other versions of Redis and Valkey (20 min or more)
	@bash scripts/compat.sh

check: need-go ## check format, go vet, staticcheck, go.mod and go.sum, and scripts; finds luac5.1 or installs it (2.5 min)
	@for f in .ci/run scripts/*.sh mcptasks/*/run.sh; do echo "-- bash -n $$f"; bash -n $$f || exit 1; done
	@echo "-- gofmt -l"; files=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l) && [ -z "$$files" ] || { echo "$$files"; echo "Run: gofmt -w ."; exit 1; }
	@command -v luac5.1 >/dev/null || bash scripts/ensure-redis.sh --packages lua5.1
	@echo "-- luac5.1 -p"; luac5.1 -p $$(git ls-files -co --exclude-standard '*.lua')
	@$(call each,$(MODULES),go mod tidy -diff)
	@$(call each,$(MODULES),go vet ./...)
	@$(call each,$(MODULES),go vet -tags integration ./...)
	@$(call each,$(MODULES),$(STATICCHECK) ./...)
	@$(call each,$(MODULES),$(STATICCHECK) -tags integration ./...)

# SQLite's driver is other code on each system.
cross: need-go ## build and vet sqlitestore and pgstore for other systems, without cgo (5 min)
	@set -e; for m in sqlitestore pgstore; do for target in linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do \
		echo "-- $$m: $$target"; \
		(cd $$m && GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 go build ./...); \
		(cd $$m && GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 go vet ./...); done; done

conformance: need-go ## run the official MCP conformance suite; needs npm (2.5 min)
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js, or on Debian: apt-get install npm"; exit 1; }
	@$(redis); bash mcptasks/conformance/run.sh

interop: need-go ## try clients and servers of others; needs npm and Python (2 min)
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js, or on Debian: apt-get install npm"; exit 1; }
	@python3 -c 'import ensurepip' || { echo "Python with venv is missing: install Python 3.11 or later, or on Debian: apt-get install python3-venv"; exit 1; }
	@$(redis); bash mcptasks/interop/run.sh

consumers: need-go ## have programs outside fetch a release of all modules from a folder, and build (6 min)
	@cd release && go test -count=1 ./...

release: need-go ## check everything, and tag VERSION=vX.Y.Z; see RELEASE.md (45 min)
	@[ -n "$(VERSION)" ] || { echo "Set the version: make release VERSION=v0.1.0"; exit 1; }
	@cd release && go run . -version $(VERSION) -check
	@bash .ci/run
	@$(MAKE) consumers
	@cd release && go run . -version $(VERSION)

# FILES="mcptasks/wire.go tasks" restricts it.
mutants: need-go ## report the one-place changes of mcptasks and tasks that pass all tests (hours)
	@bash scripts/mutants.sh $(FILES)

bench: need-go ## measure beside other stores and the limit; writes bench/RESULTS.md (12 min)
	@$(redis); $(postgres); cd bench && go run .

need-go:
	@command -v go >/dev/null || { \
		echo "Go is missing: install Go $$(sed -n 's/^go //p' go.mod) or later (https://go.dev/doc/install)"; \
		echo "and put its bin directory, often /usr/local/go/bin, on PATH."; exit 1; }
