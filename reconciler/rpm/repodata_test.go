package rpm_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/rpmpack"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

// built makes packages with rpmbuild from testdata/NAME.spec.
func built(t *testing.T, specs ...string) (files []string) {
	t.Helper()
	need(t, "rpmbuild")
	top := t.TempDir()
	for _, name := range specs {
		spec := must(filepath.Abs("testdata/" + name + ".spec"))(t)
		output(t, top, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+top, "--define", "use_source_date_epoch_as_buildtime 1",
			"--define", "clamp_mtime_to_source_date_epoch 1", "--define", "_buildhost reproducible", spec)
	}
	return must(filepath.Glob(top + "/RPMS/*/*.rpm"))(t)
}

func unzipped(t testing.TB, b []byte) string {
	t.Helper()
	z := must(gzip.NewReader(bytes.NewReader(b)))(t)
	var out bytes.Buffer
	must(out.ReadFrom(z))(t)
	return out.String()
}

// packedSums are what differs as soon as two programs compress.
var packedSums = regexp.MustCompile(`    <checksum type="sha256">[0-9a-f]+</checksum>\n|    <size>\d+</size>\n`)

// createrepo compares what this room writes of a folder's packages with what createrepo_c writes.
func createrepo(t *testing.T, dir string) {
	t.Helper()
	need(t, "createrepo_c")
	output(t, dir, "createrepo_c", "-q", "--no-database", "--simple-md-filenames", "--revision=1700000000", "--set-timestamp-to-revision",
		"--general-compress-type=gz", ".")
	files := must(rpm.Repodata(entries(t, dir), fixed))(t)
	for _, name := range []string{rpm.PrimaryName, rpm.FilelistsName, rpm.OtherName} {
		theirs := must(os.ReadFile(filepath.Join(dir, "repodata", name)))(t)
		if d := cmp.Diff(unzipped(t, theirs), unzipped(t, files[name])); d != "" {
			t.Errorf("%s (-createrepo_c +ours):\n%s", name, d)
		}
	}
	theirs := must(os.ReadFile(filepath.Join(dir, "repodata", rpm.RepomdName)))(t)
	if d := cmp.Diff(packedSums.ReplaceAllString(string(theirs), ""), packedSums.ReplaceAllString(string(files[rpm.RepomdName]), "")); d != "" {
		t.Errorf("repomd.xml (-createrepo_c +ours):\n%s", d)
	}
}

func TestRepodataOfAHardPackageIsThatOfCreaterepo(t *testing.T) {
	dir := t.TempDir()
	for _, file := range built(t, "hard", "empty") {
		put(t, dir, filepath.Base(file), must(os.ReadFile(file))(t))
	}
	createrepo(t, dir)
}

func TestRepodataOfOddPackagesIsThatOfCreaterepo(t *testing.T) {
	dir := t.TempDir()
	words := func(names ...string) rpmpack.IndexEntry { return rpmpack.EntryStringSlice(names) }
	numbers := func(n ...uint32) rpmpack.IndexEntry { return rpmpack.EntryUint32(n) }
	many := make([]string, 14)
	times := make([]uint32, 14)
	for i := range many {
		many[i], times[i] = fmt.Sprintf("- change %d\twith a tab\r\n", i), uint32(fixed-i/3*86400)
	}
	for _, p := range []packed{
		{name: "plain", requires: "a,b >= 1.0,/bin/sh", files: "/usr/sbin/plain,/opt/plain", arch: "x86_64"},
		{name: "B-upper", epoch: 7, version: "1.0^git", release: "0.1~x"},
		{name: "old", tags: map[int]rpmpack.IndexEntry{ // as distributions of old said weak dependencies, and rpm says what may be missing
			1156: words("strong", "weak"), 1157: words("1", ""), 1158: numbers(8|1<<27, 0),
			1159: words("also", "even"), 1160: words("", "2:1-1"), 1161: numbers(1<<27, 4),
			1049: words("maybe", "rpmlib(x)", "twice", "twice", "twice", "twice", "odd", "other"),
			1048: numbers(1<<19, 1<<24|10, 8, 8, 8|1<<9, 8, 12, 6), 1050: words("", "4.0-1", "1", "1", "1", "1", "x:2", ":3-4-5"),
		}},
		{name: "symbols", tags: map[int]rpmpack.IndexEntry{
			1049: words("libc.so.6(GLIBC_2.4)", "libc.so.6", "libc.so.6(GLIBC_2.17)(64bit)", "libc.so.6()(64bit)", "libc.so.6(GLIBC_2.3.4)", "z"),
			1048: numbers(0, 0, 0, 0, 0, 0), 1050: words("", "", "", "", "", ""),
		}},
		{name: "changes", tags: map[int]rpmpack.IndexEntry{
			1080: numbers(times...), 1081: words(slices.Repeat([]string{"S\u00f8ren\t\"<s@example.org>\"\n  "}, 14)...), 1082: words(many...),
		}},
		{name: "latin", tags: map[int]rpmpack.IndexEntry{1015: rpmpack.EntryString("J\xf6rg \x80"), 1011: rpmpack.EntryString("a\rb\"")}},
	} {
		put(t, dir, p.name+"-"+p.release+".rpm", p.bytes(t))
	}
	createrepo(t, dir)
}

func TestRepodataDoesNotDependOnTheOrderOfEntries(t *testing.T) {
	dir := t.TempDir()
	for i := range 200 {
		put(t, dir, fmt.Sprintf("p%d.rpm", i), packed{name: fmt.Sprintf("p%d", i), requires: "p1"}.bytes(t))
	}
	list := entries(t, dir)
	want := must(rpm.Repodata(list, fixed))(t)
	slices.Reverse(list)
	if d := cmp.Diff(want, must(rpm.Repodata(list, fixed))(t)); d != "" {
		t.Error(d)
	}
	if _, err := rpm.Repodata(append(list, list[0]), fixed); err == nil {
		t.Error("two packages at one place are accepted")
	}
	if _, err := rpm.Repodata([]rpm.Entry{{Location: "a.rpm"}}, fixed); err == nil {
		t.Error("an entry without package is accepted")
	}
}

func TestKeyChangesWithWhateverRepodataTells(t *testing.T) {
	list := []rpm.Entry{{Location: "a.rpm", Size: 1, Time: 2}, {Location: "b.rpm", Size: 3, Time: 4}}
	key := rpm.RepodataKey(list, fixed)
	if rpm.RepodataKey([]rpm.Entry{list[1], list[0]}, fixed) != key {
		t.Error("the order counts")
	}
	for what, e := range map[string]rpm.Entry{
		"location": {Location: "c.rpm", Size: 1, Time: 2}, "size": {Location: "a.rpm", Size: 2, Time: 2}, "time": {Location: "a.rpm", Size: 1, Time: 3},
		"digest": {Location: "a.rpm", Size: 1, Time: 2, Digest: artifact.Sum(nil)},
	} {
		if rpm.RepodataKey([]rpm.Entry{e, list[1]}, fixed) == key {
			t.Errorf("another %s has the same key", what)
		}
	}
	if rpm.RepodataKey(list, fixed+1) == key || rpm.RepodataKey(list[:1], fixed) == key {
		t.Error("revision or number do not count")
	}
}

// TestPackagesLoseNothingAsJSON matters because they are kept as JSON, and repodata is written of what was kept.
func TestPackagesLoseNothingAsJSON(t *testing.T) {
	dir := t.TempDir()
	for _, file := range built(t, "hard", "empty") {
		put(t, dir, filepath.Base(file), must(os.ReadFile(file))(t))
	}
	for _, e := range entries(t, dir) {
		var back rpm.Package
		if err := json.Unmarshal(must(json.Marshal(e.Package))(t), &back); err != nil {
			t.Fatal(err)
		}
		kept := e
		kept.Package = &back
		if d := cmp.Diff(e.Fragments(), kept.Fragments()); d != "" {
			t.Errorf("%s (-read +kept):\n%s", e.Location, d)
		}
		if d := cmp.Diff(*e.Package, back); d != "" {
			t.Errorf("%s (-read +kept):\n%s", e.Location, d)
		}
	}
}

func wellFormed(t *testing.T, s string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(s)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, s)
		}
	}
}
