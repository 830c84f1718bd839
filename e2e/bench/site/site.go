// Package site writes large synthetic sites, for benchmarks: the same number of FECs gives the same commit everywhere.
package site

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/pomona-gitops/pomona/schema"
)

const (
	perFolder  = 10 // FECs of one folder, each in a file of its own
	perSection = 50 // such folders of one section
	platforms  = 2
	scripts    = 4
	archives   = 8   // software whose payload is a finished archive
	archived   = 256 // KiB of one
)

// Write writes a site with n FECs into dir, an empty folder or a new one, as a git repository with one commit on branch
// main: folders of ten FECs of some 1.2 KB of CUE each, and a software for every twenty FECs, from 50 to 500, in three
// versions with a small payload.
func Write(dir string, n int) error {
	w := &writer{dir: dir, fecs: n, software: min(max(n/20, 50), 500), archived: archived}
	w.settings()
	for i := range w.software {
		w.product(i)
	}
	for i := range n {
		w.write(FEC(i), w.fec(i, 0))
	}
	if w.err != nil {
		return fmt.Errorf("write site: %w", w.err)
	}
	if err := Commit(dir, "site", "init", "-q", "-b", "main"); err != nil {
		return err
	}
	return git(dir, "repack", "-adq") // as a clone has it
}

// FEC is the file of FEC number i.
func FEC(i int) string {
	folder := i / perFolder
	return fmt.Sprintf("fecs/s%03d/g%04d/%s.cue", folder/perSection, folder, Name(i))
}

// Change rewrites the file of FEC number i of a site of n FECs: each other revision gives another, valid content. The next
// one moves the FEC to another release. Nothing is committed.
func Change(dir string, n, i, revision int) error {
	w := &writer{dir: dir}
	w.write(FEC(i), Content(n, i, revision))
	return w.err
}

// Content is what Change writes.
func Content(n, i, revision int) string {
	w := &writer{fecs: n, software: min(max(n/20, 50), 500)}
	return w.fec(i, revision)
}

// Commit commits everything in dir, after first, a git command, if there is one. The commit's id depends on nothing but
// content, parents and message.
func Commit(dir, message string, first ...string) error {
	commands := [][]string{{"add", "-A"}, {"-c", "gc.auto=0", "commit", "-q", "-m", message}}
	if len(first) > 0 {
		commands = append([][]string{first}, commands...)
	}
	for _, args := range commands {
		if err := git(dir, args...); err != nil {
			return err
		}
	}
	return nil
}

func git(dir string, args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=bench", "GIT_AUTHOR_EMAIL=bench@example.org", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z",
		"GIT_COMMITTER_NAME=bench", "GIT_COMMITTER_EMAIL=bench@example.org", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return nil
}

// writer writes until the first error.
type writer struct {
	dir            string
	fecs, software int
	archived       int // KiB of one archive
	err            error
}

func (w *writer) write(name, content string) {
	file := filepath.Join(w.dir, filepath.FromSlash(name))
	if w.err != nil {
		return
	}
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if w.err = os.MkdirAll(filepath.Dir(file), 0o755); w.err == nil {
		w.err = os.WriteFile(file, []byte(content), mode)
	}
}

// settings writes what a site has once: its module, the schema as stock CUE finds it, settings and scripts.
func (w *writer) settings() {
	w.write("cue.mod/module.cue", "module: \"site.example/bench@v0\"\nlanguage: version: \"v0.17.0\"\n")
	w.write(schema.Root, schema.RootFile)
	importPath, _, _ := strings.Cut(schema.Path, "@")
	names, err := fs.Glob(schema.FS, "*.cue")
	w.err = errors.Join(w.err, err)
	for _, name := range names {
		b, err := schema.FS.ReadFile(name)
		w.err = errors.Join(w.err, err)
		w.write(path.Join("cue.mod/pkg", importPath, name), string(b))
	}
	var b strings.Builder
	b.WriteString("package site\n\nsite: {\n\tname: \"bench\"\n\tplatforms: {\n")
	for p := range platforms {
		fmt.Fprintf(&b, "\t\t\"p%d\": {arch: \"ppc\", os: \"yocto\", osRelease: \"r%d\", unpack: [\"gzip\", \"xz\"]}\n", p, p)
	}
	b.WriteString("\t}\n\tgroups: {ring: {}, linac: {}, transfer: {}}\n\tmonitoringGroups: {\"front-ends\": {}, beamline: {}}\n")
	b.WriteString("\tscripts: {\n")
	for s := range scripts {
		fmt.Fprintf(&b, "\t\t\"%d0-start\": file: \"scripts/start%d\"\n", s+1, s)
		w.write(fmt.Sprintf("scripts/start%d", s), fmt.Sprintf("#!/bin/sh\necho start %d\n", s))
	}
	b.WriteString("\t}\n\tboot: servers: [\"http://127.0.0.1:8080\"]\n}\n")
	w.write("site.cue", b.String())
}

var versions = []string{"1.0.0", "1.1.0", "2.0.0"}

// product writes a software with its payload, and a configuration item that fits it.
func (w *writer) product(i int) {
	name := fmt.Sprintf("sw%03d", i)
	folder := "software/" + name
	var b strings.Builder
	fmt.Fprintf(&b, "package site\n\nsoftware: %q: {\n\tdescription: \"device class %d\"\n\tresponsible: \"controls@example.org\"\n\tversions: {\n", name, i)
	for v, version := range versions {
		field, at := "folder", folder+"/"+version
		if i < archives {
			field, at = "archive", at+".tar.gz"
			w.archive(at, fmt.Sprintf("opt/sw/%s/%s/bin/%s", name, version, name), uint64(i*len(versions)+v))
		} else {
			w.write(at+"/bin/"+name, fmt.Sprintf("#!/bin/sh\necho %s %s\n", name, version))
			w.write(at+"/etc/"+name+".conf", fmt.Sprintf("version %s\n", version))
		}
		fmt.Fprintf(&b, "\t\t%q: {released: \"2026-0%d-01\", payload: any: {%s: %q, install: \"/opt/sw/%s/%s\"}}\n", version, v+1, field, at, name, version)
	}
	fmt.Fprintf(&b, "\t}\n}\n\nconfiguration: \"conf%03d\": versions: \"1.0\": {\n\tfor: %q: \">=1 <3\"\n", i, name)
	fmt.Fprintf(&b, "\tpayload: {folder: \"software/%s/conf\", install: \"/opt/conf/%s\"}\n}\n", name, name)
	w.write(folder+"/conf/values", fmt.Sprintf("offset = %d\n", i))
	w.write(folder+"/"+name+".cue", b.String())
}

// archive writes a gzip archive of one incompressible file.
func (w *writer) archive(at, entry string, seed uint64) {
	content := make([]byte, w.archived<<10)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	random.Read(content) // never fails
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	err := t.WriteHeader(&tar.Header{Name: entry, Mode: 0o755, Size: int64(len(content)), Format: tar.FormatGNU})
	if err == nil {
		_, err = t.Write(content)
	}
	w.err = errors.Join(w.err, err, t.Close(), z.Close())
	w.write(at, b.String())
}

// Name is the nomenclature of FEC number i.
func Name(i int) string { return fmt.Sprintf("kg%05dcu", i) }

// fec is the CUE of one FEC.
func (w *writer) fec(i, revision int) string {
	random := rand.New(rand.NewPCG(uint64(i), 1))
	pins := random.Perm(w.software)[:6+random.IntN(5)]
	var b strings.Builder
	fmt.Fprintf(&b, "package site\n\n// FEC %d of the benchmark: everything that a FEC of a laboratory usually has.\nfecs: %q: {\n", i, Name(i))
	fmt.Fprintf(&b, "\tdescription: \"front-end computer number %d\"\n\thost: \"%s.acc.example.org\"\n\tplatform: \"p%d\"\n", i, Name(i), i%platforms)
	fmt.Fprintf(&b, "\tlocation: \"hall %d, rack %d, slot %d\"\n\tresponsible: \"team%d@example.org\"\n", i/1000, i/perFolder, i%perFolder, i%17)
	fmt.Fprintf(&b, "\tgroups: [%q, \"transfer\"]\n\tsoftware: {\n", []string{"ring", "linac"}[i%2])
	for n, s := range pins {
		start, version := "", random.IntN(len(versions))
		if n%4 == 0 {
			start = ", start: true"
		}
		if n == 0 {
			version += revision
		}
		fmt.Fprintf(&b, "\t\tsw%03d: {version: %q%s}\n", s, versions[version%len(versions)], start)
	}
	b.WriteString("\t}\n\tconfiguration: {\n")
	for _, s := range pins[:2+i%2] {
		fmt.Fprintf(&b, "\t\tconf%03d: \"1.0\"\n", s)
	}
	b.WriteString("\t}\n\tinit: {\n\t\t\"10-start\": global: \"10-start\"\n")
	fmt.Fprintf(&b, "\t\t\"50-run\": {file: \"scripts/start%d\", starts: \"sw%03d\"}\n\t}\n", i%scripts, pins[0])
	b.WriteString("\tpersistence: state: {path: \"/opt/data/state\", schema: \"state-1\", interval: \"30m\", keep: 5}\n")
	b.WriteString("\tmonitoring: {\n\t\tgroups: [\"front-ends\", \"beamline\"]\n\t\tservices: {\n\t\t\tping: {check: \"ping\", interval: \"2m\"}\n")
	fmt.Fprintf(&b, "\t\t\tserver: {check: \"tcp\", port: %d, description: \"the device server of %s answers\"}\n\t\t}\n\t}\n", 5000+i%1000, Name(i))
	fmt.Fprintf(&b, "\tlabels: {\n\t\tsection: \"section %d\"\n\t\tcrate: \"%d\"\n\t\trevision: \"%d\"\n\t\tnomenclature: %q\n\t}\n}\n", i/500, i, revision, strings.ToUpper(Name(i)))
	return b.String()
}
