# Releases this project to its front-end computers: include it, and call `make install` (or `make pomona-release`).
# Written by `pomona release --print make`; say it again after an update of pomona.
#
#   POMONA_NAME     name of the software; default: the folder's
#   POMONA_VERSION  its version; default: the tag of the commit that is checked out, without a leading v
#   POMONA_FOLDER   what is packed, as it lies there; default: build
#   POMONA_ARGS     more options, for instance --platform yocto-ppc --pin kgp1bp01
#   POMONA_FECS     for `make pomona-dev`: puts it straight on these FECs, until they boot; default: releases it as dev
#
# Where to, from the environment: POMONA_SITE, POMONA_TO or POMONA_ROOT, POMONA_CREDENTIAL.

POMONA         ?= pomona
POMONA_NAME    ?= $(notdir $(CURDIR))
POMONA_FOLDER  ?= build
POMONA_VERSION ?= $(patsubst v%,%,$(shell git describe --tags --exact-match 2>/dev/null))

.PHONY: install pomona-release pomona-dev

install: pomona-release

pomona-release:
	@test -n '$(POMONA_VERSION)' || { echo 'pomona-release: no tag names this commit: give POMONA_VERSION' >&2; exit 2; }
	$(POMONA) release $(POMONA_ARGS) -- '$(POMONA_NAME)' '$(POMONA_VERSION)' '$(POMONA_FOLDER)'

pomona-dev:
	$(if $(POMONA_FECS),$(POMONA) dev --start $(POMONA_ARGS) -- '$(POMONA_NAME)' '$(POMONA_FOLDER)' $(POMONA_FECS),\
	$(POMONA) release --dev $(POMONA_ARGS) -- '$(POMONA_NAME)' dev '$(POMONA_FOLDER)')
