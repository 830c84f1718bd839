package collect_test

import (
	"archive/tar"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/collect"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/remote/sshtest"
)

var servers = map[string]func(testing.TB, ...sshtest.Option) *sshtest.Server{"sshd": sshtest.Sshd, "dropbear": sshtest.Dropbear}

// objects are how many snapshots lie in a folder.
func objects(t *testing.T, folder string) int {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(entries)
}

func below(files map[string]string) map[string]string {
	out := map[string]string{}
	for name, content := range files {
		out[path+"/"+name] = content
	}
	return out
}

func TestWhatAFECWritesIsServed(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			f, root := newFEC(t, start), newRoot(t)
			c := newCollector(t, f, root, nil)
			if err := c.collect(collect.Nothing); err != nil {
				t.Errorf("a FEC without any data yet: %v", err)
			}
			long := strings.Repeat("long-name-", 20)
			files := map[string]string{"offsets": "1 2 3\n", "empty": "", "deep/er/file": strings.Repeat("x", 100_000), long + "/" + long: "y"}
			f.data(files)
			if err := os.Symlink("../offsets", filepath.Join(f.dir, "current", path, "deep/link")); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(filepath.Join(f.dir, "current", path, "offsets"), filepath.Join(f.dir, "current", path, "zz-again")); err != nil {
				t.Fatal(err)
			}
			if err := c.collect(collect.Collected); err != nil {
				t.Fatal(err)
			}
			want := below(files)
			want[path+"/deep/link"], want[path+"/zz-again"] = "../offsets", files["offsets"]
			m, got := restored(t, root)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a FEC restores (-want +got):\n%s", diff)
			}
			if m.Site != "linac" || m.FEC != fecName || len(m.Data) != 1 || m.Data[0].Name != "offsets" || m.Data[0].Schema != "v1" || m.Data[0].Path != "/"+path {
				t.Errorf("manifest %+v", m)
			}
			before := served(t, root)
			if err := c.collect(collect.Unchanged); err != nil || served(t, root) != before {
				t.Errorf("what did not change is served anew: %v", err)
			}
			f.put(path+"/offsets", "4 5 6\n", 0o644)
			if err := c.collect(collect.Collected); err != nil {
				t.Fatal(err)
			}
			if _, got := restored(t, root); got[path+"/offsets"] != "4 5 6\n" {
				t.Errorf("restored %q", got[path+"/offsets"])
			}
		})
	}
}

// TestWorseDataReplacesNothing: what is empty, cut, smaller or damaged, whatever the FEC does.
func TestWorseDataReplacesNothing(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			f, root := newFEC(t, start), newRoot(t)
			c := newCollector(t, f, root, func(o *collect.Options) { o.SSH.Timeout = 8 * time.Second }) // two are silent
			files := map[string]string{"a": strings.Repeat("a", 10_000), "b": "b", "c": "c", "d": "d"}
			f.data(files)
			if err := c.collect(collect.Collected); err != nil {
				t.Fatal(err)
			}
			f.data(nil)
			c.refused("it has 0 bytes, files: 0, and had 10003 bytes, files: 4")
			f.data(map[string]string{"a": strings.Repeat("a", 20_000)})
			c.refused("--shrunken")
			f.data(map[string]string{"a": "a", "b": "b", "c": "c", "d": "d"})
			c.refused("it has 4 bytes, files: 4")
			if err := os.RemoveAll(filepath.Join(f.dir, "current", path)); err != nil {
				t.Fatal(err)
			}
			c.refused("No such file or directory")
			f.data(files)
			pack := fmt.Sprintf("busybox tar -cf - -C %s/current %s", f.dir, path)
			for how, words := range map[string]string{
				"exit 0":                 "the archive is cut",
				pack + " | head -c 5000": "unexpected EOF",
				pack + " | head -c 512":  "the archive is cut", // at the end of an entry
				pack + "; exit 1":        "exit status 1",
				pack + "; kill -9 $$":    "", // the shell above says so in its own way
				pack + "; kill -9 $PPID": "", // the connection dies before the command has ended
				pack + "; head -c 5000 /dev/zero | tr '\\0' x": "data after its end",
				pack + "; cat /dev/zero":                       "the archive does not end",
				pack + " | head -c 3000; sleep 600":            "no answer for 8s",
				"sleep 600":                                    "no answer for 8s",
				"head -c 20000 /dev/urandom":                   "damaged",
			} {
				if strings.HasSuffix(how, "$PPID") && name == "sshd" {
					continue // the parent is a shell's
				}
				f.fault(how)
				c.refused(words)
			}
			f.fault("")
			if _, err := c.Collect(t.Context(), fecName, "offsets", false); err != nil {
				t.Error(err)
			}
			f.data(map[string]string{"a": "a"})
			if outcome, err := c.Collect(t.Context(), fecName, "offsets", true); err != nil || outcome != collect.Collected {
				t.Errorf("an operator says that it is right: %s, %v", outcome, err)
			}
			if _, got := restored(t, root); !maps.Equal(got, below(map[string]string{"a": "a"})) {
				t.Errorf("restored %v", got)
			}
		})
	}
}

// TestHostileArchivesAreRefused: whatever a FEC sends, nothing but files below its own path is ever served.
func TestHostileArchivesAreRefused(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	c := newCollector(t, f, root, nil)
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	top, dir, reg := tar.Header{Name: path + "/", Typeflag: tar.TypeDir}, byte(tar.TypeDir), byte(tar.TypeReg)
	many := []tar.Header{top}
	for i := range 100_001 {
		many = append(many, tar.Header{Name: fmt.Sprintf("%s/%d", path, i), Typeflag: dir})
	}
	sized := archive(t, top, tar.Header{Name: path + "/a", Typeflag: reg, Linkname: "a"})
	copy(sized[512+124:], "77777777777\x00") // the size of a: 8 GiB
	sum := 0
	copy(sized[512+148:], "        ")
	for _, b := range sized[512:1024] {
		sum += int(b)
	}
	copy(sized[512+148:], fmt.Sprintf("%06o\x00 ", sum))
	for name, h := range map[string]struct {
		archive []byte
		words   string
	}{
		"outside":              {archive(t, top, tar.Header{Name: "opt/fesa/bin/x", Typeflag: reg}), "lies outside"},
		"absolute":             {archive(t, top, tar.Header{Name: "/etc/passwd", Typeflag: reg}), "lies outside"},
		"up":                   {archive(t, top, tar.Header{Name: path + "/../../../etc/passwd", Typeflag: reg}), "no name"},
		"a neighbour":          {archive(t, tar.Header{Name: path + "base/", Typeflag: dir}), "lies outside"},
		"control characters":   {archive(t, top, tar.Header{Name: path + "/\x1b[2J", Typeflag: reg}), "no name"},
		"twice":                {archive(t, top, tar.Header{Name: path + "/a", Typeflag: reg}, tar.Header{Name: path + "/a", Typeflag: reg}), "twice"},
		"no folder":            {archive(t, top, tar.Header{Name: path + "/b/a", Typeflag: reg}), "lies in no folder"},
		"device":               {archive(t, top, tar.Header{Name: path + "/sda", Typeflag: tar.TypeBlock}), "devices"},
		"fifo":                 {archive(t, top, tar.Header{Name: path + "/fifo", Typeflag: tar.TypeFifo}), "devices"},
		"link out":             {archive(t, top, tar.Header{Name: path + "/l", Typeflag: tar.TypeSymlink, Linkname: "../../../etc"}), "leads out"},
		"absolute link":        {archive(t, top, tar.Header{Name: path + "/l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}), "leads out"},
		"link through a link":  {archive(t, top, tar.Header{Name: path + "/l", Typeflag: tar.TypeSymlink, Linkname: "x/../../../../etc"}), "leads out"},
		"file through a link":  {archive(t, top, tar.Header{Name: path + "/l", Typeflag: tar.TypeSymlink, Linkname: "."}, tar.Header{Name: path + "/l/x", Typeflag: reg}), "lies in no folder"},
		"hard link out":        {archive(t, top, tar.Header{Name: path + "/l", Typeflag: tar.TypeLink, Linkname: "etc/passwd"}), "hard link"},
		"hard link to a link":  {archive(t, top, tar.Header{Name: path + "/s", Typeflag: tar.TypeSymlink, Linkname: "a"}, tar.Header{Name: path + "/l", Typeflag: tar.TypeLink, Linkname: path + "/s"}), "hard link"},
		"the folder is a link": {archive(t, tar.Header{Name: path, Typeflag: tar.TypeSymlink, Linkname: "../../etc"}), "leads out"},
		"link to its format":   {archive(t, top, tar.Header{Name: path + "/.pomona-format", Typeflag: reg, Linkname: "v1\n"}, tar.Header{Name: path + "/l", Typeflag: tar.TypeLink, Linkname: path + "/.pomona-format"}), "link or a folder"},
		"its format a link":    {archive(t, top, tar.Header{Name: path + "/a", Typeflag: reg, Linkname: "v1\n"}, tar.Header{Name: path + "/.pomona-format", Typeflag: tar.TypeLink, Linkname: path + "/a"}), "link or a folder"},
		"too many entries":     {archive(t, many...), "more than 100000 entries"},
		"too large":            {archive(t, top, tar.Header{Name: path + "/a", Typeflag: reg, Linkname: strings.Repeat("x", 1<<20+1)}), "more than 1048576 bytes"},
		"large by little":      {archive(t, top, tar.Header{Name: path + "/a", Typeflag: reg, Linkname: strings.Repeat("x", 1<<20)}, tar.Header{Name: path + "/b", Typeflag: reg, Linkname: "x"}), "more than 1048576 bytes"},
		"a lie about its size": {sized, "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(f.dir, "hostile"), h.archive, 0o644); err != nil {
				t.Fatal(err)
			}
			f.fault("exec cat " + f.dir + "/hostile")
			c.refused(h.words)
		})
	}
}

// TestAFECThatSaysManyFormats fills no disk: of each format some snapshots are kept.
func TestAFECThatSaysManyFormats(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	c := newCollector(t, f, root, nil)
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		f.data(map[string]string{"a": "a", ".pomona-format": fmt.Sprintf("f%d\n", i)})
		if err := c.collect(collect.Collected); err != nil {
			t.Fatal(err)
		}
	}
	m, _ := restored(t, root)
	var formats []string
	for _, d := range m.Data {
		formats = append(formats, d.Schema)
	}
	if n := objects(t, filepath.Join(root, "data", fecName, "sha256")); n != 4 || strings.Join(formats, " ") != "f7 f6 f5 v1" {
		t.Errorf("%d snapshots; restored in formats %q", n, formats)
	}
}

func TestGenerationsAreKept(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	c := newCollector(t, f, root, nil)
	for i := range 6 {
		f.data(map[string]string{"a": fmt.Sprint("content ", i)})
		if err := c.collect(collect.Collected); err != nil {
			t.Fatal(err)
		}
	}
	if n := objects(t, filepath.Join(root, "data", fecName, "sha256")); n != 3 {
		t.Errorf("%d snapshots, want 3", n)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	have, err := collect.Snapshots(dir, fecName)
	if err != nil || len(have) != 3 || have[0].Files != 1 || have[0].Bytes != 9 || have[0].FEC != fecName || !have[0].At.After(have[1].At) {
		t.Fatalf("%+v, %v", have, err)
	}
	// An earlier one is restored for as long as an operator wants, and not removed before.
	if err := c.Restore(t.Context(), fecName, "offsets", have[2].Object); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		f.data(map[string]string{"a": fmt.Sprint("more ", i)})
		if err := c.collect(collect.Collected); err != nil {
			t.Fatal(err)
		}
		if _, got := restored(t, root); got[path+"/a"] != "content 3" {
			t.Errorf("restored %v", got)
		}
	}
	c.stop()
	c = newCollector(t, f, root, nil) // also after a restart
	if err := c.collect(collect.Unchanged); err != nil {
		t.Error(err)
	}
	if _, got := restored(t, root); got[path+"/a"] != "content 3" {
		t.Errorf("restored %v", got)
	}
	if err := c.Restore(t.Context(), fecName, "offsets", artifact.Digest{1}); err == nil || !strings.Contains(err.Error(), "no snapshot") {
		t.Error(err)
	}
	if err := c.Restore(t.Context(), fecName, "offsets", artifact.Digest{}); err != nil {
		t.Fatal(err)
	}
	if _, got := restored(t, root); got[path+"/a"] != "more 3" {
		t.Errorf("restored %v", got)
	}
}

// TestDataThatTheSiteDropsIsArchived: nothing is lost with its last mention, and it is back when the site wants it again.
func TestDataThatTheSiteDropsIsArchived(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	c := newCollector(t, f, root, nil)
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	c.want(f, nil)
	archive := filepath.Join(root, ".pomona/data", fecName)
	eventually(t, "it is archived", func() bool { return objects(t, archive) == 1 && served(t, root) == "" })
	c.want(f, map[string]desired.Persistence{"offsets": offsets})
	eventually(t, "it is back", func() bool { return objects(t, archive) == 0 && strings.Contains(served(t, root), "data.manifest") })
	if _, got := restored(t, root); got[path+"/a"] != "a" {
		t.Errorf("restored %v", got)
	}
}

// TestEachFormatHasItsSnapshot: software that is rolled back finds what it wrote itself.
func TestEachFormatHasItsSnapshot(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	c := newCollector(t, f, root, nil)
	f.data(map[string]string{"a": strings.Repeat("in the first format", 100)})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	// What counts is what the FEC has booted, not what is published. It is smaller, which says nothing about another format.
	f.data(map[string]string{"a": "2", ".pomona-format": "v2\n"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	m, got := restored(t, root)
	if len(m.Data) != 2 || m.Data[0].Schema+" "+m.Data[1].Schema != "v2 v1" || got[path+"/.pomona-format"] != "" {
		t.Errorf("%+v, %v", m, got)
	}
	f.data(map[string]string{"a": "2", ".pomona-format": "v2; reboot\n"})
	c.refused("not the boot client's")
	next := offsets
	next.Schema = "v3"
	c.want(f, map[string]desired.Persistence{"offsets": next})
	f.data(map[string]string{"a": "3"}) // who does not say what it is has what is published
	eventually(t, "the new format is collected", func() bool {
		c.pass(time.Minute)
		_, err := c.Collect(t.Context(), fecName, "offsets", false)
		m, _ := restored(t, root)
		return err == nil && len(m.Data) == 3
	})
}

func TestQuotaIsKept(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	c := newCollector(t, f, root, func(o *collect.Options) { o.Room = 400 })
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	f.data(map[string]string{"a": "b"})
	c.refused("raise quota")
}

// TestDamageIsReplaced: what lies on the disk is read before the FEC's data counts as unchanged.
func TestDamageIsReplaced(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	c := newCollector(t, f, root, nil)
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	m, _ := restored(t, root)
	file := filepath.Join(root, "data", fecName, "sha256", m.Data[0].Digest.String())
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	if _, got := restored(t, root); got[path+"/a"] != "a" {
		t.Errorf("restored %v", got)
	}
}

func TestAChangedHostKeyIsToldAtOnce(t *testing.T) {
	f, root := newFEC(t, sshtest.Dropbear), newRoot(t)
	told := make(chan []collect.Status, 100)
	c := newCollector(t, f, root, func(o *collect.Options) {
		o.Tell = func(failing []collect.Status) {
			select {
			case told <- failing:
			default:
			}
		}
	})
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	f.server.Rekey()
	c.refused("shows another host key")
	is := func(n int) func() bool {
		return func() bool {
			failing := <-told
			return len(failing) == n && (n == 0 || failing[0].FEC == fecName && failing[0].Name == "offsets")
		}
	}
	eventually(t, "it is told", is(1))
	c.want(f, map[string]desired.Persistence{"offsets": offsets}) // with the new key
	eventually(t, "it is over", is(0))                            // without anybody asking
}

// TestFailuresAreTriedAgainAndTold: a FEC that is away is no news until its data is old.
func TestFailuresAreTriedAgainAndTold(t *testing.T) {
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	told := make(chan []collect.Status, 1)
	c := newCollector(t, f, root, func(o *collect.Options) {
		o.Tell = func(failing []collect.Status) {
			select {
			case <-told:
			default:
			}
			told <- failing
		}
		o.SSH = &remote.SSH{Key: f.server.Key, Timeout: 10 * time.Second}
	})
	f.data(map[string]string{"a": "a"})
	f.server.Stop()
	c.refused("connect to " + fecName)
	if failing := <-told; len(failing) > 0 {
		t.Errorf("told at once: %+v", failing)
	}
	eventually(t, "it is told", func() bool {
		c.pass(10 * time.Minute)
		return len(<-told) == 1
	})
	f.server.Start()
	eventually(t, "it is collected by itself", func() bool {
		c.pass(10 * time.Minute)
		return len(<-told) == 0 && strings.Contains(served(t, root), "data.manifest")
	})
}
