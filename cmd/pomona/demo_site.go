package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/boot/crowd"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// crowdGroups are the groups of a site for a crowd, in the order in which they are restarted, and the software of each.
var crowdGroups = []struct{ name, software string }{
	{"diag", "diag-tools"}, {"linac", "magnet-psc"}, {"ring", "bpm-fesa"}, {"timing", "timing-receiver"},
}

const (
	perFile  = 100 // crates of one file
	versions = 2   // of each software
)

// crateNames are the FECs of a site for a crowd, n of them, as many of each group.
func crateNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%05dcr", crowdGroups[i%len(crowdGroups)].name, i/len(crowdGroups)+1))
	}
	return names
}

// groupOf is that of the i-th of them.
func groupOf(i int) string { return crowdGroups[i%len(crowdGroups)].name }

// siteWriter writes files until the first error.
type siteWriter struct {
	dir string
	err error
}

func (w *siteWriter) write(name, content string) {
	file := filepath.Join(w.dir, name)
	mode := os.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if w.err == nil {
		w.err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if w.err == nil {
		w.err = writeNew(file, []byte(content), mode)
	}
}

// crowdSite makes a site whose FECs are those of a crowd that listens already.
func crowdSite(dir, server string, fecs []*crowd.FEC) (repo.Commit, error) {
	w := &siteWriter{dir: dir}
	w.write("cue.mod/module.cue", "module: \"site.example/crowd@v0\"\nlanguage: version: \"v0.17.0\"\n")
	w.write("site.cue", fmt.Sprintf(crowdSettings, server))
	w.write("scripts/daemon", "#!/bin/sh\n\"$POMONA_INSTALL/bin/$POMONA_SOFTWARE\" &\n")
	for i, group := range crowdGroups {
		w.software(group.software)
		w.write("fecs/"+group.name+"/"+group.name+".cue", fmt.Sprintf(crowdGroup, group.name, group.software))
		var of []*crowd.FEC
		for n := i; n < len(fecs); n += len(crowdGroups) {
			of = append(of, fecs[n])
		}
		for n := 0; n < len(of); n += perFile {
			w.write(fmt.Sprintf("fecs/%s/crates%03d.cue", group.name, n/perFile), crates(of[n:min(n+perFile, len(of))]))
		}
	}
	if w.err == nil {
		w.err = vendorSchema(dir)
	}
	if w.err != nil {
		return repo.Commit{}, fmt.Errorf("make site: %w", w.err)
	}
	return repo.Create(dir, fmt.Sprintf("New site with %d FECs\n\nMade by pomona demo.\n", len(fecs)), time.Now())
}

const crowdSettings = `package site

site: {
	name:        "crowd"
	description: "Simulated front-end computers"
	platforms: crate: {arch: "ppc", os: "yocto", osRelease: "kirkstone", unpack: ["gzip"]}
	groups: {diag: {}, linac: {}, ring: {}, timing: {}}
	scripts: "50-daemon": {file: "scripts/daemon", description: "starts the program of one software"}
	boot: servers: [%q]

	// What is published later reaches running FECs in waves, one group after the other.
	restarts: {
		order: ["diag", "linac", "ring", "timing"]
		pace: {wave: "20%%", success: "80%%", errors: "20%%", within: "2m"}
	}
}
`

// crowdGroup is what the crates of a group have in common.
const crowdGroup = `package site

// What every crate of this group runs: change the version, commit, and watch.
_crate: {
	platform: "crate"
	groups: ["%[1]s"]
	software: "%[2]s": version: *"1.0.0" | string
	init: "50-daemon": {global: "50-daemon", starts: "%[2]s"}
	...
}
`

func crates(fecs []*crowd.FEC) string {
	var b strings.Builder
	b.WriteString("package site\n\nfecs: {\n")
	for _, f := range fecs {
		host, port, _ := strings.Cut(f.Address(), ":")
		fmt.Fprintf(&b, "\t%s: _crate & {host: \"%[1]s.example.org\", ssh: {address: %q, port: %s, hostKeys: [%q]}}\n", f.Name, host, port, f.HostKey())
	}
	b.WriteString("}\n")
	return b.String()
}

func (w *siteWriter) software(name string) {
	var b strings.Builder
	fmt.Fprintf(&b, "package site\n\nsoftware: %q: {\n\tonUpdate: \"restart\"\n\tversions: {\n", name)
	for v := range versions {
		version := fmt.Sprintf("1.%d.0", v)
		fmt.Fprintf(&b, "\t\t%q: payload: any: {folder: \"software/%s/%[1]s\", install: \"/opt/%[2]s/%[1]s\"}\n", version, name)
		w.write(fmt.Sprintf("software/%s/%s/bin/%[1]s", name, version), fmt.Sprintf("#!/bin/sh\necho this is %s %s\n", name, version))
	}
	b.WriteString("\t}\n}\n")
	w.write("software/"+name+"/"+name+".cue", b.String())
}
