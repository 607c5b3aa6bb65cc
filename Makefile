# The product in four words: demo, test, lint, bench. Each does its own set-up.
CARGO ?= cargo
DATA ?=
TOOLS_BUILD = cc=gcc git=git
TOOLS_RUN = fusermount3=fuse3
TOOLS_TEST = sqlite3=sqlite3 systemd-nspawn=systemd-container debootstrap=debootstrap ip=iproute2 ssh-keygen=openssh-client python3=python3-venv flock=util-linux

.PHONY: demo demo-destroy test lint unit posix soak bench setup-run setup-test

setup-run:
	@scripts/setup.sh --yes $(TOOLS_BUILD) $(TOOLS_RUN)

setup-test:
	@scripts/setup.sh $(TOOLS_BUILD) $(TOOLS_RUN) $(TOOLS_TEST)
	@scripts/moto.sh "$${CARGO_TARGET_DIR:-target}/moto"

demo: setup-run ## builds, then plan, apply and a tour; DATA=/folder serves your own data
	@scripts/demo.sh up "$(DATA)"

demo-destroy: ## removes everything that the demo made
	@scripts/demo.sh down

lint: setup-test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

test: lint unit posix ## everything that CI runs

unit: setup-test
	$(CARGO) test --workspace --quiet --no-fail-fast

posix: setup-test ## POSIX suites of others on mounts of a cluster on this machine; needs root
	@scripts/posix.sh pjdfstest fsx

# Eight ways of 125 000 operations are a million with each seed.
soak: setup-test ## fsx with ten seeds, for hours
	@LUSTRE_POSIX_PROFILE=release POSIX_LIMIT=7200 FSX_SEEDS="1 2 3 4 5 6 7 8 9 10" FSX_OPERATIONS=125000 scripts/posix.sh fsx

bench: setup-test ## figures of this machine, ratios in one run
	@scripts/bench.sh
