package tree

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// scripts are what installs, verifies and tests the prerequisites of each system.
func (t table) scripts() (nodes []Node) {
	for _, system := range t.systems() {
		nodes = append(nodes,
			Node{Path: system + "/" + InstallScript, Mode: artifact.Executable, Data: t.installScript(system)},
			Node{Path: system + "/" + VerifyScript, Mode: artifact.Executable, Data: t.verifyScript(system)})
		if t.site.Settings.Systems[system].Family != desired.MacOS {
			nodes = append(nodes, Node{Path: system + "/" + Containerfile, Data: t.containerfile(system)})
		}
	}
	return nodes
}

// sh is a word as sh reads it.
func sh(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+@/:=-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// shWords are words as sh reads them.
func shWords(words ...string) string {
	for i, w := range words {
		words[i] = sh(w)
	}
	return strings.Join(words, " ")
}

// caseOf begins the section of a version in a script.
func caseOf(want string) string { return "\n\t'" + want + "')\n" }

// helpers are the functions of sh that providers need, by family. Each changes nothing that is there already, and counts what it changes.
var helpers = map[string]map[string]string{
	desired.Debian: {
		desired.FromDistro: `refreshed=no
package() { # PACKAGE, from a repository that apt knows
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" != installed ] || return 0
	[ $refreshed = yes ] || apt-get -qq update
	refreshed=yes
	apt-get -qq -y --no-install-recommends install "$1" </dev/null >&2
	changed=$((changed + 1))
}
`,
		desired.FromVendor: `repository() { # NAME URL KEY FINGERPRINT SUITE COMPONENTS: only that key is trusted, and only for this repository
	keyring=/etc/apt/keyrings/pomona-$1.gpg list=/etc/apt/sources.list.d/pomona-$1.list
	text="# key $4
deb [signed-by=$keyring] $2 $5 $6"
	[ ! -s "$keyring" ] || [ "$(cat "$list" 2>/dev/null)" != "$text" ] || return 0
	package ca-certificates
	package curl
	package gpg
	mkdir -p /etc/apt/keyrings
	temporary=$(mktemp -d)
	curl --proto =https -fsSL -o "$temporary/key" "$3"
	gpg --homedir "$temporary" -q --batch --import "$temporary/key"
	gpg --homedir "$temporary" -q --batch --export "$4" >"$temporary/keyring"
	[ -s "$temporary/keyring" ] || { echo "install.sh: $3 does not hold key $4" >&2; exit 1; }
	install -m 0644 "$temporary/keyring" "$keyring"
	rm -rf "$temporary"
	printf '%s\n' "$text" >"$list"
	refreshed=no
	changed=$((changed + 1))
}
`,
	},
	desired.RHEL: {
		desired.FromDistro: `package() { # PACKAGE, from a repository that dnf knows
	! rpm -q --quiet "$1" || return 0
	dnf -q -y --setopt=install_weak_deps=False install "$1" </dev/null >&2
	changed=$((changed + 1))
}
`,
		desired.FromVendor: `repository() { # NAME URL KEY FINGERPRINT SUITE COMPONENTS: only that key is trusted, and only for this repository
	key=/etc/pki/rpm-gpg/pomona-$1.asc repo=/etc/yum.repos.d/pomona-$1.repo
	text="# key $4
[pomona-$1]
name=pomona-$1
baseurl=$2
gpgcheck=1
gpgkey=file://$key
skip_if_unavailable=0"
	[ ! -s "$key" ] || [ "$(cat "$repo" 2>/dev/null)" != "$text" ] || return 0
	package gnupg2
	temporary=$(mktemp -d)
	curl --proto =https -fsSL -o "$temporary/key" "$3"
	gpg --homedir "$temporary" -q --batch --import "$temporary/key"
	gpg --homedir "$temporary" -q --batch --armor --export "$4" >"$temporary/keyring"
	[ -s "$temporary/keyring" ] || { echo "install.sh: $3 does not hold key $4" >&2; exit 1; }
	install -m 0644 "$temporary/keyring" "$key"
	rm -rf "$temporary"
	printf '%s\n' "$text" >"$repo"
	changed=$((changed + 1))
}
`,
	},
	desired.MacOS: {
		desired.FromDistro: `package() { # FORMULA
	! brew list --versions "$1" >/dev/null || return 0
	brew install "$1" </dev/null >&2
	changed=$((changed + 1))
}
`,
	},
}

// Functions that all families have in common.
const (
	moduleHelper = `module() { # PACKAGE VERSION HASH...: a python module of the language's index, whose files have these digests
	found=$(python3 -c 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))' "$1" 2>/dev/null) || found=none
	[ "$found" != "$2" ] || return 0
	requirement=$1==$2
	shift 2
	for hash; do
		requirement="$requirement --hash=sha256:$hash"
	done
	temporary=$(mktemp)
	printf '%s\n' "$requirement" >"$temporary"
	PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore python3 -m pip install -q --no-input --no-deps --require-hashes -r "$temporary" >&2
	rm -f "$temporary"
	changed=$((changed + 1))
}
`
	fileHelper = `file() { # URL SHA256 DEST MODE
	[ "$(digest "$3")" != "$2" ] || return 0
	mkdir -p "${3%/*}"
	temporary=$(mktemp "$3.XXXXXX")
	curl --proto =https -fsSL -o "$temporary" "$1"
	[ "$(digest "$temporary")" = "$2" ] || { rm -f "$temporary"; echo "install.sh: $1 is not what it was: want sha256 $2" >&2; exit 1; }
	chmod "$4" "$temporary"
	mv -f "$temporary" "$3"
	changed=$((changed + 1))
}
`
	digestHelper = `digest() { sha256sum "$1" 2>/dev/null | cut -c1-64; }
`
	digestHelperMac = `digest() { shasum -a 256 "$1" 2>/dev/null | cut -c1-64; }
`
)

// installScript installs what it is told to, with what that needs, or everything.
func (t table) installScript(system string) []byte {
	own, others := t.rows(system)
	on := t.site.Settings.Systems[system]
	var b strings.Builder
	b.WriteString("#!/bin/sh\n" + t.generated("#", "Installs the prerequisites of "+system))
	if on.Family == desired.MacOS {
		b.WriteString("# Nobody has tested it: Pomona has no clean machine of macos.\n")
	}
	for _, r := range own {
		b.WriteString(t.stamp("#", r.name))
	}
	b.WriteString("# usage: install.sh [NAME[=VERSION]...]; the last line of what it prints is changed=NUMBER\nset -eu\nexport LC_ALL=C")
	if on.Family == desired.Debian {
		b.WriteString(" DEBIAN_FRONTEND=noninteractive")
	}
	b.WriteString("\nchanged=0\n\n" + t.helpersOf(on.Family, slices.Concat(own, others)))
	b.WriteString("\ninstall_version() { # NAME=VERSION\n\tcase $1 in")
	for _, r := range slices.Concat(own, others) {
		b.WriteString(caseOf(r.want()) + indented(t.installed(on, r)) + "\t\t;;")
	}
	b.WriteString("\n\t*)\n\t\techo \"install.sh: " + system + " has no $1\" >&2\n\t\texit 2\n\t\t;;\n\tesac\n}\n")
	b.WriteString("\nwith_needs() { # NAME[=VERSION]\n\tcase $1 in")
	for _, r := range own {
		b.WriteString("\n\t'" + r.name + "')\n" + indented(t.needed(system, r)+"install_version "+sh(r.want())+"\n") + "\t\t;;")
		if needs := t.needed(system, r); needs != "" {
			b.WriteString("\n\t'" + r.name + "='*)\n" + indented(needs+"install_version \"$1\"\n") + "\t\t;;")
		}
	}
	b.WriteString("\n\t*) install_version \"$1\" ;;\n\tesac\n}\n")
	b.WriteString("\nif [ $# = 0 ]; then\n\tset --")
	for _, r := range own {
		b.WriteString(" " + sh(r.name))
	}
	b.WriteString("\nfi\nfor want; do\n\twith_needs \"$want\"\ndone\necho \"changed=$changed\"\n")
	return []byte(b.String())
}

// needed installs what a prerequisite needs.
func (t table) needed(system string, r row) string {
	var b strings.Builder
	for _, need := range t.closure(r.name) {
		if need != r.name {
			fmt.Fprintf(&b, "install_version %s\n", sh(need+"="+t.site.Prerequisites[need].Systems[system].TheVersion(t.site.Prerequisites[need])))
		}
	}
	return b.String()
}

// helpersOf are the functions that rows call.
func (t table) helpersOf(family string, rows []row) string {
	uses := map[string]bool{}
	for _, r := range rows {
		uses[r.provider] = true
	}
	own := helpers[family]
	var b strings.Builder
	if uses[desired.FromDistro] || uses[desired.FromVendor] || family != desired.MacOS {
		b.WriteString(own[desired.FromDistro])
	}
	if uses[desired.FromVendor] {
		b.WriteString("\n" + own[desired.FromVendor])
	}
	if uses[desired.FromLanguage] {
		b.WriteString("\n" + moduleHelper)
	}
	if uses[desired.FromArtifact] {
		digest := digestHelper
		if family == desired.MacOS {
			digest = digestHelperMac
		}
		b.WriteString("\n" + digest + "\n" + fileHelper)
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// installed are the lines that install one version.
func (t table) installed(on desired.System, r row) string {
	switch s := r.source; r.provider {
	case desired.FromDistro:
		return "package " + sh(s.Distro.Package) + "\n"
	case desired.FromVendor:
		v := s.VendorRepo
		suite, components := v.Suite, v.Components
		if suite == "" {
			suite = on.Release
		}
		if len(components) == 0 {
			components = []string{"main"}
		}
		return "repository " + shWords(r.name, v.URL, v.Key, v.KeyFingerprint, suite, strings.Join(components, " ")) + "\npackage " + sh(v.Package) + "\n"
	case desired.FromLanguage:
		pip := "package python3-pip\n"
		if on.Family == desired.MacOS {
			pip = ""
		}
		return pip + "module " + shWords(append([]string{s.Language.Package, s.Language.Version}, s.Language.SHA256...)...) + "\n"
	case desired.FromArtifact:
		mode, curl := "0644", "package ca-certificates\npackage curl\n"
		if s.Artifact.Executable {
			mode = "0755"
		}
		if on.Family != desired.Debian { // they come with it
			curl = ""
		}
		return curl + "file " + shWords(s.Artifact.URL, s.Artifact.SHA256, s.Artifact.Dest, mode) + "\n"
	}
	return ""
}

// indented are lines of a section.
func indented(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString("\t\t" + line)
	}
	return b.String()
}

// verifyScript runs the probes of what it is told to, or of everything that the system gets by itself.
func (t table) verifyScript(system string) []byte {
	own, others := t.rows(system)
	var b strings.Builder
	b.WriteString("#!/bin/sh\n" + t.generated("#", "Verifies the prerequisites of "+system))
	for _, r := range own {
		b.WriteString(t.stamp("#", r.name))
	}
	b.WriteString("# usage: verify.sh [NAME[=VERSION]...]; ends with 0 if they are all there, else with 1\n" +
		"# shellcheck disable=SC2016 # what probes run is for their own shell\nset -u\nexport LC_ALL=C\nfailed=0\n\n" +
		`probe() { # NAME EXPECTED PROGRAM ARGUMENT...
	name=$1 expected=$2
	shift 2
	output=$("$@" 2>&1 </dev/null)
	status=$?
	case $status$output in
	0*"$expected"*) echo "PASS $name: $*" ;;
	0*)
		echo "FAIL $name: $*: want $expected, got: $output"
		failed=1
		;;
	*)
		echo "FAIL $name: $*: exit $status: $output"
		failed=1
		;;
	esac
}

verify() { # NAME[=VERSION]
	case $1 in`)
	for _, r := range own {
		fmt.Fprintf(&b, "\n\t'%s') verify %s ;;", r.name, sh(r.want()))
	}
	for _, r := range slices.Concat(own, others) {
		b.WriteString(caseOf(r.want()) + indented(t.probes(r)) + "\t\t;;")
	}
	b.WriteString("\n\t*)\n\t\techo \"verify.sh: " + system + " has no $1\" >&2\n\t\texit 2\n\t\t;;\n\tesac\n}\n\nif [ $# = 0 ]; then\n\tset --")
	for _, r := range own {
		b.WriteString(" " + sh(r.name))
	}
	b.WriteString("\nfi\nfor want; do\n\tverify \"$want\"\ndone\nexit $failed\n")
	return []byte(b.String())
}

// probes are the lines that run the probes of one version.
func (t table) probes(r row) string {
	var b strings.Builder
	for _, p := range t.site.Prerequisites[r.name].Verify {
		argv := slices.Clone(p.Run)
		if p.Shell != "" {
			argv = []string{"sh", "-c", p.Shell}
		}
		for i, word := range argv {
			argv[i] = r.probed(word)
		}
		fmt.Fprintf(&b, "probe %s %s\n", shWords(r.name, r.probed(p.Expect)), shWords(argv...))
	}
	return b.String()
}

// probed is a word of a probe for a version.
func (r row) probed(word string) string { return strings.ReplaceAll(word, "${version}", r.version) }

// containerfile is the test on a clean machine: each stage is a job of its own, with its own end.
func (t table) containerfile(system string) []byte {
	var b strings.Builder
	b.WriteString(t.generated("#", "The test of "+system+" on a clean machine"))
	own, _ := t.rows(system)
	for _, r := range own {
		b.WriteString(t.stamp("#", r.name))
	}
	b.WriteString("# Build each of its stages from the folder above: install, again, verify and, with --build-arg PREVIOUS=NAME=VERSION, upgrade.\n" +
		"# Another --build-arg TRIAL has everything done anew, and nothing taken from a build before.\n")
	if image := t.site.Settings.Systems[system].Image; image != "" {
		fmt.Fprintf(&b, "ARG BASE=%s\n", image)
	} else {
		b.WriteString("ARG BASE\n")
	}
	fmt.Fprintf(&b, `FROM ${BASE} AS clean
COPY %[1]s/%[2]s %[1]s/%[3]s /prerequisites/
ARG TRIAL=""
RUN echo "trial ${TRIAL}"

FROM clean AS upgrade
ARG PREVIOUS
ARG WANT=""
RUN /prerequisites/%[2]s ${PREVIOUS}
RUN /prerequisites/%[2]s ${WANT} && /prerequisites/%[3]s ${WANT}

FROM clean AS install
ARG WANT=""
RUN /prerequisites/%[2]s ${WANT}

FROM install AS again
ARG WANT=""
RUN /prerequisites/%[2]s ${WANT} >/tmp/again && tail -n 1 /tmp/again && tail -n 1 /tmp/again | grep -qx changed=0

FROM install AS verify
ARG WANT=""
RUN /prerequisites/%[3]s ${WANT}
`, system, InstallScript, VerifyScript)
	return []byte(b.String())
}
