# Every command that the README, CONTRIBUTING.md and .ci/run name. `make` lists them.

# .ci/env finds go and tells it what this machine can build.
GO := .ci/env go

# What `make setup` installs.
PARTS ?= build run test generate

# Folder of public test cases with golden/*.csv; what needs it is left out where there is none.
CASES := $(or $(GONVOLVE_CASES),../shared/cases)
# Node tests that come with ONNX (Debian: libonnx-testdata).
ONNX_TESTDATA := $(or $(GONVOLVE_ONNX_TESTDATA),/usr/share/libonnx-testdata/data)

DEVICES     ?= cpu,vulkan:0,opencl:0
TESTFLAGS   ?= -short -timeout 20m
LONGFLAGS   ?= -timeout 60m
RACEFLAGS   ?= -short -timeout 30m
FUZZTIME    ?= 15s
FAULTS      ?= 500
SAMPLE      ?= 400
BENCHFLAGS  ?=
LARGE       ?= 4
TUNED       ?= vulkan:0 opencl:0
TUNED_AS    ?= software
STATICCHECK := v0.8.2
OTHERS      := linux/386 windows/arm64

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-bench setup-test setup-generate build bench test test-long faults verify shaders lint race fuzz check-generated bundle large tuned clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing to build, run, test and generate (apt-get; elsewhere it names the packages)
	@.ci/setup $(PARTS)

setup-bench:
	@.ci/setup build run

setup-test:
	@.ci/setup build run test

setup-generate:
	@.ci/setup generate

build: ## build bin/gonvolve
	@$(GO) build -o bin/gonvolve ./cmd/gonvolve

bench: setup-bench build ## compare the timings of all devices on a small suite (BENCHFLAGS='--suite resnet50 …')
	@./bin/gonvolve bench --probe $(BENCHFLAGS)

test: setup-test ## vet and run all tests, those that take minutes in a short form (TESTFLAGS)
	$(GO) vet ./...
	$(GO) test $(TESTFLAGS) ./...

test-long: setup-test test-whole race fuzz faults verify ## every test whole, race detector, fuzzing, random faults, golden checksums and ONNX tests on every kind of device

test-whole: ## every test in its whole length (LONGFLAGS)
	$(GO) test $(LONGFLAGS) ./...

race: ## tests of the library and the drivers under the race detector (RACEFLAGS)
	$(GO) test -race $(RACEFLAGS) ./engine/... ./cpu/... ./gpu/...

fuzz: ## fuzz every target for a while (FUZZTIME=15s)
	@.ci/fuzz $(FUZZTIME)

faults: build ## FAULTS runs with random faults on DEVICES, and as many with faults in each GPU's API
	./bin/gonvolve verify --faults $(FAULTS) --device '$(DEVICES)'
	GONVOLVE_FAULTS=$(FAULTS) $(GO) test -run TestRandomFaults $(LONGFLAGS) ./gpu/vulkan ./gpu/opencl

verify: build ## check DEVICES against golden checksums (SAMPLE of them by every algorithm, a few by each of the cpu's Winograd transforms), random problems (FUZZTIME) and ONNX's recorded results, where those are
	@if [ -d '$(CASES)/golden' ]; then \
		for f in '$(CASES)'/golden/*.csv; do (set -x; ./bin/gonvolve verify --golden "$$f" --device '$(DEVICES)' && \
			./bin/gonvolve verify --golden "$$f" --alg all --sample $(SAMPLE) --device '$(DEVICES)') || exit; done; \
		for f in '$(CASES)'/golden/*conv.csv; do for m in 2 4 6; do \
			(set -x; ./bin/gonvolve verify --golden "$$f" --device cpu --alg winograd --tile m=$$m --sample 40) || exit; done; done; \
	else \
		echo 'verify: no $(CASES)/golden: golden checksums left out (GONVOLVE_CASES names the folder above)'; \
	fi
	./bin/gonvolve verify --fuzz $(FUZZTIME) --device '$(DEVICES)'
	./bin/gonvolve verify --fuzz $(FUZZTIME) --cut random --device '$(DEVICES)'
	@if [ -d '$(ONNX_TESTDATA)' ] || [ "$$GONVOLVE_REQUIRE_DRIVERS" = 1 ]; then \
		set -x; ./bin/gonvolve verify --onnx '$(ONNX_TESTDATA)' --device '$(DEVICES)'; \
	else \
		echo 'verify: no $(ONNX_TESTDATA): ONNX tests left out (install libonnx-testdata or set GONVOLVE_ONNX_TESTDATA)'; \
	fi

shaders: setup-generate ## compile the kernels to SPIR-V (go generate)
	$(GO) generate ./shaders

check-generated: setup-generate ## fail if shaders/spirv or the assembly of cpu/simd isn't what its source makes
	$(GO) run ./shaders/gen -dir shaders -check
	$(GO) run -C cpu/simd/gen . -dir .. -check

bin/staticcheck-$(STATICCHECK):
	GOBIN='$(CURDIR)/bin' $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK)
	@mv bin/staticcheck $@

lint: bin/staticcheck-$(STATICCHECK) ## gofmt, vet, staticcheck, and builds without cgo, for other systems and without each GPU driver
	@files=$$(.ci/env gofmt -l .); [ -z "$$files" ] || { echo "gofmt -w these:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	.ci/env $< ./...
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) vet ./...
	@for on in $(OTHERS); do (set -x; CGO_ENABLED=0 GOOS=$${on%/*} GOARCH=$${on#*/} $(GO) build ./...) || exit; done
	$(GO) build -tags novulkan ./...
	$(GO) build -tags noopencl ./...

tuned: setup-bench build ## measure the built-in tuned choices of TUNED devices again, after kernels changed (an hour)
	@cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && for d in $(TUNED); do \
		GONVOLVE_CACHE="$$cache" ./bin/gonvolve tune --device "$$d" --suite resnet50 --budget 30s || exit; done && \
	GONVOLVE_CACHE="$$cache" ./bin/gonvolve tune --export engine/tuned/known/$(TUNED_AS).jsonl

large: setup-bench build ## convolution and pooling from disk on LARGE GiB with 512 MiB of memory on DEVICES, equal results, kill -9 and resume (4: minutes, 13 GiB of disk)
	@.ci/large $(LARGE) '$(DEVICES)'

bundle: setup-bench build ## pack bin/gonvolve-bundle.tar.gz: verifies and times a machine with nothing else installed (.ci/measure)
	@rm -rf bin/gonvolve-bundle && mkdir -p bin/gonvolve-bundle/golden
	@cp bin/gonvolve .ci/measure testdata/peers/cudnn.py LICENSE bin/gonvolve-bundle/
	@if [ -d '$(CASES)/golden' ]; then cp '$(CASES)'/golden/*.csv bin/gonvolve-bundle/golden/; fi
	@tar -C bin -czf bin/gonvolve-bundle.tar.gz gonvolve-bundle && ls -l bin/gonvolve-bundle.tar.gz

clean: ## remove what make built
	rm -rf bin
