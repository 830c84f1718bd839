package boot_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot"
)

// TestPruning keeps what current and previous name, and nothing else.
func TestPruning(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	var last, before boot.Outcome
	want := map[string]bool{}
	for serial := int64(100); serial < 104; serial++ {
		m := s.release(serial)
		s.publish(m)
		before, last = last, boots(t, f, "running", serial, "")
		if serial >= 102 {
			for _, o := range m.Objects() {
				want[o.Digest.String()] = true
			}
		}
	}
	if d := cmp.Diff([]string{filepath.Base(before.Slot), filepath.Base(last.Slot)}, names(t, f.Root(), "slots")); d != "" {
		t.Errorf("slots (-want +got):\n%s", d)
	}
	for link, o := range map[string]boot.Outcome{"current": last, "previous": before} {
		if target, err := os.Readlink(filepath.Join(f.Root(), link)); err != nil || target != "slots/"+filepath.Base(o.Slot) {
			t.Errorf("%s is %q: %v", link, target, err)
		}
	}
	got := map[string]bool{}
	for _, name := range names(t, f.Root(), "cache") {
		got[name] = true
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("cache (-want +got):\n%s", d)
	}
}

func names(t *testing.T, parts ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	slices.Sort(out)
	return out
}

// TestDamagedSlot damages what is installed: it is not booted, and repaired when the server is there.
func TestDamagedSlot(t *testing.T) {
	for name, damage := range map[string]func(slot string) error{
		"manifest gone":     func(slot string) error { return os.Remove(filepath.Join(slot, ".pomona/manifest")) },
		"manifest changed":  func(slot string) error { return edit(filepath.Join(slot, ".pomona/manifest")) },
		"script changed":    func(slot string) error { return edit(filepath.Join(slot, ".pomona/init/10-env")) },
		"software gone":     func(slot string) error { return os.RemoveAll(filepath.Join(slot, "opt/fesa")) },
		"slot gone":         os.RemoveAll,
		"another's content": func(slot string) error { return os.Rename(filepath.Join(filepath.Dir(slot), "../other"), slot) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			f := s.fec()
			s.publish(s.release(100))
			first := boots(t, f, "running", 100, "")
			s.publish(s.release(101))
			second := boots(t, f, "running", 101, "")
			if name == "another's content" {
				if err := os.RemoveAll(second.Slot); err != nil {
					t.Fatal(err)
				}
				if err := os.CopyFS(filepath.Join(f.Root(), "other"), os.DirFS(first.Slot)); err != nil {
					t.Fatal(err)
				}
			}
			if err := damage(second.Slot); err != nil {
				t.Fatal(err)
			}
			s.fail(down)
			if o := boots(t, f, "fallback", 100, "no manifest"); o.Slot != first.Slot {
				t.Errorf("booted %s, want %s", o.Slot, first.Slot)
			}
			s.fail(nil)
			started(t, f, boots(t, f, "running", 101, ""))
			s.fail(nil)
			boots(t, f, "running", 101, "")
			if n := len(s.asked()); n != 1 {
				t.Errorf("the boot after the repair is %d requests, want 1", n)
			}
		})
	}
}

// edit appends a blank line.
func edit(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o755)
}

func TestFormats(t *testing.T) {
	for _, format := range []artifact.Format{artifact.Xz, artifact.Zstd} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			f := s.fec()
			m := s.release(100)
			install := m.Software[0].Install
			m.Software[0].Object = s.object(format, map[string]string{install + "/bin/bpm": "1.0.100"})
			s.publish(m)
			if format == artifact.Zstd {
				f.Env = append(f.Env, "POMONA_RETRIES=1")
				boots(t, f, "failed", 100, "zstd") // no busybox has it
				f.Tools = append(f.Tools, need(t, "zstd", "install zstd"))
			}
			started(t, f, boots(t, f, "running", 100, ""))
		})
	}
}

// TestBadArchive serves archives that are what the manifest says, but cannot be unpacked.
func TestBadArchive(t *testing.T) {
	for _, b := range [][]byte{[]byte("no archive"), archive(t, artifact.Gzip, map[string]string{"/opt/x": "y"})[:40]} {
		s := newSite(t)
		f := s.fec()
		s.publish(s.release(100))
		boots(t, f, "running", 100, "")
		m := s.release(101)
		d := artifact.Sum(b)
		s.put("/objects/"+d.Path(), b)
		m.Software[0].Digest, m.Software[0].Size = d, int64(len(b))
		s.publish(m)
		boots(t, f, "fallback", 100, "unpacking "+d.String())
		if left := names(t, f.Root(), "slots"); len(left) != 1 {
			t.Errorf("slots %v", left)
		}
	}
}

// TestNoSpace updates a FEC whose disk has room for one release.
func TestNoSpace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small tmpfs")
	}
	s := newSite(t)
	f := s.fec()
	if err := os.MkdirAll(f.Root(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", f.Root(), "tmpfs", 0, "size=900k"); err != nil {
		t.Skipf("SKIPPED: mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(f.Root(), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s.publish(s.release(100))
	boots(t, f, "running", 100, "")
	s.publish(s.release(101))
	o := boots(t, f, "fallback", 100, "no space left in ")
	started(t, f, o)
}

// TestOtherTools boots without wget, and with a mv that has no -T, under another shell: Debian's busybox would find its
// own applets.
func TestOtherTools(t *testing.T) {
	for name, tools := range map[string]func(t *testing.T) []string{
		"curl only": func(t *testing.T) []string { return []string{need(t, "curl", "install curl")} },
		"GNU wget":  func(t *testing.T) []string { return []string{need(t, "wget", "install wget")} },
		"mv without -T": func(t *testing.T) []string {
			return []string{tool(t, "mv", `[ "$1" != -T ] && exec `+need(t, "busybox", "install busybox-static")+` mv "$@"`)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			f := s.fec()
			f.Shell = need(t, "dash", "install dash")
			f.Tools = append(f.Tools, tools(t)...)
			if name == "curl only" {
				f.Without = []string{"wget"}
			}
			s.publish(s.release(100))
			boots(t, f, "running", 100, "")
			m := s.release(101)
			s.publish(m)
			s.fail(only("/objects/", first(1, big(cut(200_000)))))
			started(t, f, boots(t, f, "running", 101, ""))
			want := request{"/objects/" + m.Software[0].Digest.Path(), "bytes=200000-"}
			if !slices.Contains(s.asked(), want) {
				t.Errorf("requests %v, want among them %v", s.asked(), want)
			}
			if last := s.told()[len(s.told())-1]; last.Get("state") != "running" {
				t.Errorf("last report %v", last)
			}
			s.fail(down)
			boots(t, f, "fallback", 101, "no manifest")
		})
	}
}

// TestInterruptedTurn leaves what a power cut may leave where mv has no -T.
func TestInterruptedTurn(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.release(100))
	o := boots(t, f, "running", 100, "")
	current := filepath.Join(f.Root(), "current")
	if err := os.Rename(current, current+".new"); err != nil {
		t.Fatal(err)
	}
	s.fail(down)
	if again := boots(t, f, "fallback", 100, "no manifest"); again.Slot != o.Slot {
		t.Errorf("booted %s, want %s", again.Slot, o.Slot)
	}
}
