# The commands of this project. "make help" lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

CARGO ?= cargo
# Where cargo builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Where "make install" puts things. DESTDIR is put before all of them.
DESTDIR ?=
PREFIX ?= /usr
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/rsyslog
INCLUDEDIR ?= $(PREFIX)/include
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/fifo-bridge
# Where rsyslogd looks for modules: on Debian and Ubuntu this, elsewhere often /usr/lib64/rsyslog.
MULTIARCH := $(or $(shell dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null),x86_64-linux-gnu)
MODDIR ?= $(PREFIX)/lib/$(MULTIARCH)/rsyslog

# Debian packages: what the demo runs, and what the tests run beside it. ca-certificates and a C linker come with Rust.
NEED_DEMO := rsyslog rsyslog-relp redis-server php-cli php-redis
NEED_TEST := $(NEED_DEMO) man-db mandoc dpkg-dev systemd systemd-container apparmor e2fsprogs mount iproute2 rsyslog-hiredis openssl valgrind libclang-dev python3-venv

# Pinned like everything else; make deb builds it once, below the target folder.
CARGO_DEB_VERSION := 3.8.0
CARGO_DEB := $(TARGET)/tools/bin/cargo-deb

# The module is built for old systems too: zig brings the old C library to link against. One file for rsyslog 8.2102 to 8.2610.
ZIG_VERSION := 0.17.1
CARGO_ZIGBUILD_VERSION := 0.24.0
ZIG := $(TARGET)/tools/zig/bin
PORTABLE_TARGET := x86_64-unknown-linux-gnu
PORTABLE_GLIBC := 2.28
PORTABLE := $(TARGET)/$(PORTABLE_TARGET)/release/libomrust.so

.DEFAULT_GOAL := help

## help: this list
.PHONY: help
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))

## need: install the Debian packages that the tests need (as root; else say which)
.PHONY: need
need:
	@.ci/need $(NEED_TEST)

## need-demo: the same for the demo alone
.PHONY: need-demo
need-demo:
	@.ci/need $(NEED_DEMO)

## build: fifo-bridge, omrust-prog and the module omrust.so, for this machine
.PHONY: build
build:
	$(CARGO) build --locked --release --package fifo-bridge --package omrust --package omrust-prog

## build-portable: omrust.so for every Linux with glibc 2.28 or later, as the package has it
.PHONY: build-portable
build-portable: $(ZIG)/cargo-zigbuild
	PATH="$(abspath $(ZIG)):$$PATH" $(CARGO) zigbuild --locked --release --package omrust --lib --target $(PORTABLE_TARGET).$(PORTABLE_GLIBC)
	@echo $(PORTABLE)

$(ZIG)/cargo-zigbuild:
	python3 -m venv $(TARGET)/tools/zig
	$(ZIG)/pip install --quiet --disable-pip-version-check ziglang==$(ZIG_VERSION) cargo-zigbuild==$(CARGO_ZIGBUILD_VERSION)

## test: all tests, against real rsyslogd, redis-server, PHP and systemd
# The packages are made first, with the machine to themselves; tests look into them. Most tests wait for their peers: six at a time on
# two processors keep them busy.
.PHONY: test
test: need deb
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} $(CARGO) test --locked --workspace

## test-matrix: the portable module in every rsyslogd from 8.2102 to 8.2610 that apt can fetch, and omrust-prog behind the omprog of 8.2608; one that cannot be had is named
.PHONY: test-matrix
test-matrix: need build-portable
	OMRUST_SO=$(abspath $(PORTABLE)) $(CARGO) test --locked --workspace --test matrix

## test-servers: the suites that push, against Valkey and other versions of Redis that apt can fetch; one that cannot be had is named
.PHONY: test-servers
test-servers: need
	$(CARGO) test --locked --workspace --test servers

# demo [N=records] [DOOR=pipe|prog|native]. Everything else that the demo takes goes into ARGS; "make demo ARGS=--help" tells.
N ?=
DOOR ?=
ARGS ?=
## demo: the whole chain in a private folder, with kills in the middle and a verdict (N=1000000 sends more; DOOR=pipe, prog or native)
.PHONY: demo
demo: need-demo build
	$(CARGO) build --locked --release --package e2e --bin demo
	$(TARGET)/release/demo $(if $(N),--messages $(N)) $(if $(DOOR),--door $(DOOR)) $(ARGS)

## bench-fifo: what docs/BENCHMARKS.md tells, measured here (ARGS are passed on)
.PHONY: bench-fifo
bench-fifo: need-demo build
	$(CARGO) build --locked --release --package e2e --bin bench-fifo
	$(TARGET)/release/bench-fifo $(ARGS)

## bench-spool: appends to the journal beside bare pwrite and fdatasync (ARGS="--directory DIR" names the disk)
.PHONY: bench-spool
bench-spool:
	$(CARGO) build --locked --release --package e2e --bin bench-spool
	$(TARGET)/release/bench-spool $(ARGS)

## bench-omrust: the same for the module, beside rsyslog's own ways to Redis and to the disk (ARGS=--help tells more)
.PHONY: bench-omrust
bench-omrust: need build-portable
	$(CARGO) build --locked --release --package e2e --bin bench-omrust
	OMRUST_SO=$(abspath $(PORTABLE)) $(TARGET)/release/bench-omrust $(ARGS)

## bench-prog: omrust-prog beside the smallest program that omprog can talk to (ARGS are passed on)
.PHONY: bench-prog
bench-prog: need-demo build
	$(CARGO) build --locked --release --package e2e --bin bench-prog
	$(TARGET)/release/bench-prog --program $(TARGET)/release/omrust-prog $(ARGS)

# How many times as many rounds.
ROUNDS ?= 20
## torture: the tests that kill, for much longer (ROUNDS=20 times as long)
.PHONY: torture
torture: need
	E2E_TORTURE=$(ROUNDS) $(CARGO) test --locked --workspace --test e2e -- --nocapture kills splice journal::
	E2E_TORTURE=$(ROUNDS) $(CARGO) test --locked --workspace --test outlet

## deb: Debian packages in target/debian: rsyslog-omrust (the module), omrust-prog and fifo-bridge
.PHONY: deb
deb: $(CARGO_DEB) build build-portable
	$(CARGO_DEB) --locked --package omrust --no-build --target $(PORTABLE_TARGET) --output $(TARGET)/debian/
	$(CARGO_DEB) --locked --package omrust-prog --no-build --output $(TARGET)/debian/
	$(CARGO_DEB) --locked --package fifo-bridge --no-build --output $(TARGET)/debian/

$(CARGO_DEB):
	CARGO_TARGET_DIR=$(TARGET)/tools/build $(CARGO) install --quiet --debug --locked cargo-deb --version $(CARGO_DEB_VERSION) --root $(TARGET)/tools
	rm -rf $(TARGET)/tools/build

## install: DESTDIR= PREFIX=/usr; an /etc/fifo-bridge/fifo-bridge.toml that is there stays as it is
.PHONY: install
install: build
	install -D -m 755 $(TARGET)/release/fifo-bridge $(DESTDIR)$(SBINDIR)/fifo-bridge
	install -D -m 644 $(TARGET)/release/libomrust.so $(DESTDIR)$(MODDIR)/omrust.so
	install -D -m 755 $(TARGET)/release/omrust-prog $(DESTDIR)$(LIBEXECDIR)/omrust-prog
	install -D -m 644 include/omrust.h $(DESTDIR)$(INCLUDEDIR)/omrust.h
	test -e $(DESTDIR)$(SYSCONFDIR)/omrust/omrust.toml || \
		install -D -m 644 packaging/omrust.toml $(DESTDIR)$(SYSCONFDIR)/omrust/omrust.toml
	install -D -m 644 packaging/apparmor/omrust-prog.apparmor $(DESTDIR)$(SYSCONFDIR)/apparmor.d/rsyslog.d/omrust-prog.apparmor
	install -d $(DESTDIR)$(UNITDIR)
	install -m 644 packaging/systemd/fifo-bridge.socket $(DESTDIR)$(UNITDIR)/fifo-bridge.socket
	sed 's|/usr/sbin/fifo-bridge|$(SBINDIR)/fifo-bridge|' packaging/systemd/fifo-bridge.service > $(DESTDIR)$(UNITDIR)/fifo-bridge.service
	chmod 644 $(DESTDIR)$(UNITDIR)/fifo-bridge.service
	install -D -m 644 packaging/sysusers.d/fifo-bridge.conf $(DESTDIR)$(SYSUSERSDIR)/fifo-bridge.conf
	install -D -m 644 packaging/tmpfiles.d/fifo-bridge.conf $(DESTDIR)$(TMPFILESDIR)/fifo-bridge.conf
	test -e $(DESTDIR)$(SYSCONFDIR)/fifo-bridge/fifo-bridge.toml || \
		install -D -m 644 packaging/fifo-bridge.toml $(DESTDIR)$(SYSCONFDIR)/fifo-bridge/fifo-bridge.toml
	install -D -m 644 packaging/apparmor/fifo-bridge.apparmor $(DESTDIR)$(SYSCONFDIR)/apparmor.d/rsyslog.d/fifo-bridge.apparmor
	install -d $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(MANDIR)/man5
	gzip -9n < packaging/man/fifo-bridge.8 > $(DESTDIR)$(MANDIR)/man8/fifo-bridge.8.gz
	gzip -9n < packaging/man/fifo-bridge.toml.5 > $(DESTDIR)$(MANDIR)/man5/fifo-bridge.toml.5.gz
	gzip -9n < packaging/man/omrust-prog.8 > $(DESTDIR)$(MANDIR)/man8/omrust-prog.8.gz
	gzip -9n < packaging/man/omrust.toml.5 > $(DESTDIR)$(MANDIR)/man5/omrust.toml.5.gz
	install -D -m 644 -t $(DESTDIR)$(DOCDIR) README.md CHANGELOG.md
	install -D -m 644 LICENSE $(DESTDIR)$(DOCDIR)/copyright
	find docs -type f -exec install -D -m 644 {} $(DESTDIR)$(DOCDIR)/{} \;
	find rsyslog-conf workers -type f -exec install -D -m 644 {} $(DESTDIR)$(DOCDIR)/examples/{} \;
ifeq ($(DESTDIR),)
	systemd-sysusers fifo-bridge.conf
	systemd-tmpfiles --create fifo-bridge.conf
	test ! -d /run/systemd/system || systemctl daemon-reload
	@echo "To begin: systemctl enable --now fifo-bridge.socket fifo-bridge.service"
endif

## uninstall: takes away what install brought, but for the settings, the spool and the user
.PHONY: uninstall
uninstall:
ifeq ($(DESTDIR),)
	test ! -d /run/systemd/system || systemctl stop fifo-bridge.socket
	test ! -d /run/systemd/system || systemctl disable --now fifo-bridge.service fifo-bridge.socket
endif
	rm -f $(DESTDIR)$(SBINDIR)/fifo-bridge $(DESTDIR)$(MODDIR)/omrust.so
	rm -f $(DESTDIR)$(UNITDIR)/fifo-bridge.socket $(DESTDIR)$(UNITDIR)/fifo-bridge.service
	rm -f $(DESTDIR)$(SYSUSERSDIR)/fifo-bridge.conf $(DESTDIR)$(TMPFILESDIR)/fifo-bridge.conf
	rm -f $(DESTDIR)$(SYSCONFDIR)/apparmor.d/rsyslog.d/fifo-bridge.apparmor
	rm -f $(DESTDIR)$(MANDIR)/man8/fifo-bridge.8.gz $(DESTDIR)$(MANDIR)/man5/fifo-bridge.toml.5.gz
	rm -f $(DESTDIR)$(LIBEXECDIR)/omrust-prog $(DESTDIR)$(INCLUDEDIR)/omrust.h
	rm -f $(DESTDIR)$(SYSCONFDIR)/apparmor.d/rsyslog.d/omrust-prog.apparmor
	rm -f $(DESTDIR)$(MANDIR)/man8/omrust-prog.8.gz $(DESTDIR)$(MANDIR)/man5/omrust.toml.5.gz
	rm -rf $(DESTDIR)$(DOCDIR)
	@echo "Left in place: $(SYSCONFDIR)/fifo-bridge, $(SYSCONFDIR)/omrust, /var/lib/fifo-bridge, the user fifo-bridge"

## clean: what was built
.PHONY: clean
clean:
	$(CARGO) clean
