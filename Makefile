# make demo and make test do all their own set-up on Debian, with Go and git only.

export CGO_ENABLED = 0
BIN := build/pomona

.PHONY: help demo test lint vulnerabilities race fuzz golden bench pictures soak setup setup-demo clean $(BIN)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 18

demo: setup-demo $(BIN) ## everything at once, from nothing, until Ctrl-C; ARGS=--once leaves when the FECs have booted
	$(BIN) demo $(ARGS)

test: setup ## every test
	go vet ./...
	go test -timeout 28m ./...

$(BIN):
	go build -trimpath -o $@ ./cmd/pomona
	go build -trimpath -ldflags '-s -w' -o build/pomona-verify ./reconciler/boot/verify

setup: ## install the Debian packages that the tests run against
	.ci/setup test

setup-demo:
	.ci/setup demo

lint: ## what CI also asks for
	test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go tool cue fmt --check ./schema ./site-template/... 
	go tool staticcheck ./...
	git grep -lE '^#!(/bin/sh|/usr/bin/env bash)' -- ':!*.txtar' ':!*.go' ':!*.md' | xargs shellcheck

vulnerabilities: ## needs the vulnerability database on the network
	go run golang.org/x/vuln/cmd/govulncheck@v1.8.0 ./...

race: setup
	CGO_ENABLED=1 go test -race -timeout 40m ./reconciler/... ./cmd/...

FUZZTIME ?= 20s
fuzz: ## every fuzz target, FUZZTIME each
	@for p in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z]+' $$p/*_test.go | cut -c6-); do \
	    echo "$$p $$f"; go test ./$$p -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) || exit 1; \
	  done; done

golden: ## write the expected results of golden tests anew; look at the difference
	go test ./reconciler ./reconciler/load ./cmd/pomona -update

bench: setup ## Pomona beside its peers, every figure from the same run; ROWS=storm for some
	go run ./e2e/bench -rows '$(or $(ROWS),.)'

pictures: setup ## make the pictures of the manual anew, of what the tests look at
	POMONA_PICTURES=1 go test -count=1 -run PicturesOfTheManual ./reconciler/serve

soak: ## the long fault campaigns, in full
	.ci/setup soak
	POMONA_SOAK=1 POMONA_KILLS=200 go test -count=1 -v -timeout 120m -run 'Kill|Crash|PowerCut|Dies|MayDie|Hostile03|Flood|ForMonths|CleanMachine' ./reconciler/boot ./reconciler ./reconciler/repo ./reconciler/collect ./reconciler/engine ./reconciler/submit ./e2e

clean:
	rm -rf build
