package boot_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

var previewKey = key(5)

// preview serves a release as the preview of a pull request, signed by the given key for a channel.
func (s *site) preview(number string, serial int64, channel string, by tree.SecretKey) {
	s.t.Helper()
	m := s.release(serial)
	m.Channel = channel
	body := m.Marshal()
	s.put("/previews/"+number+"/fecs/"+fecName+"/boot.manifest", append(tree.Sign(body, []tree.SecretKey{by}), body...))
}

// previewing is a FEC that is to boot the preview of pull request 7.
func (s *site) previewing(f *boot.FEC) *boot.FEC {
	f.Preview, f.PreviewKeys = 7, []string{publicKey(s.t, previewKey)}
	return f
}

func TestPreviewBootsWhereItIsAskedFor(t *testing.T) {
	onEach(t, testPreviewBoots)
}

func testPreviewBoots(t *testing.T, on machine) {
	s := siteOn(t, on)
	s.publish(s.release(200))
	s.preview("7", 150, "preview/7", previewKey)
	f := s.fec()
	boots(t, f, "running", 200, "")
	// An older serial is no replay: a preview is no release.
	preview := boots(t, s.previewing(f), "running", 150, "")
	if env := read(t, f.Root(), "run/env-first"); !strings.Contains(env, "POMONA_CHANNEL='preview/7'") {
		t.Errorf("a script sees %s", env)
	}
	if !strings.HasPrefix(preview.Slot, filepath.Join(f.Dir, "root/previews/7/slots")) {
		t.Errorf("slot is %s", preview.Slot)
	}
	if last := s.lastReport(); last.Get("preview") != "7" || last.Get("state") != "running" {
		t.Errorf("the report is %s", last)
	}
	boots(t, f, "running", 150, "")
	// Closed, what is installed of it still boots.
	s.put("/previews/7/fecs/"+fecName+"/boot.manifest", nil)
	boots(t, f, "fallback", 150, "manifest")
	// Told no more, the FEC is what it was, and nothing is left of the preview.
	f.Preview = 0
	boots(t, f, "running", 200, "")
	if _, err := os.Stat(filepath.Join(f.Dir, "root/previews")); !os.IsNotExist(err) {
		t.Errorf("previews are still there: %v", err)
	}
	if last := s.lastReport(); last.Has("preview") {
		t.Errorf("the report is %s", last)
	}
}

func (s *site) lastReport() url.Values {
	all := s.told()
	return all[len(all)-1]
}

// TestPreviewIsNoRelease serves what is of a preview where a FEC looks for a release, and the other way round.
func TestPreviewIsNoRelease(t *testing.T) {
	t.Run("release in place of a preview", func(t *testing.T) {
		s := newSite(t)
		s.preview("7", 100, "production", oldKey)
		boots(t, s.previewing(s.fec()), "failed", 0, "has signed it")
	})
	t.Run("production key signs a preview", func(t *testing.T) {
		s := newSite(t)
		s.preview("7", 100, "preview/7", oldKey)
		boots(t, s.previewing(s.fec()), "failed", 0, "has signed it")
	})
	t.Run("preview key signs a release", func(t *testing.T) {
		s := newSite(t)
		s.keys = []tree.SecretKey{previewKey}
		s.publish(s.release(100))
		f := s.fec()
		f.PreviewKeys = []string{publicKey(t, previewKey)}
		boots(t, f, "failed", 0, "has signed it")
	})
	t.Run("preview in place of a release, both keys trusted", func(t *testing.T) {
		s := newSite(t)
		m := s.release(100)
		m.Channel = "preview/7"
		s.keys = []tree.SecretKey{oldKey, previewKey}
		s.publish(m)
		f := s.fec()
		f.Keys = append(f.Keys, publicKey(t, previewKey))
		boots(t, f, "failed", 0, "channel preview/7, not production")
	})
	t.Run("another pull request", func(t *testing.T) {
		s := newSite(t)
		s.preview("7", 100, "preview/8", previewKey)
		boots(t, s.previewing(s.fec()), "failed", 0, "channel preview/8, not preview/7")
	})
	t.Run("no preview keys", func(t *testing.T) {
		s := newSite(t)
		s.preview("7", 100, "preview/7", previewKey)
		f := s.previewing(s.fec())
		f.PreviewKeys = nil
		boots(t, f, "failed", 0, "no public keys")
	})
	for _, number := range []string{"07", "x", "../7", "-1"} {
		t.Run("preview "+number, func(t *testing.T) {
			s := newSite(t)
			s.publish(s.release(100))
			f := s.fec()
			f.Env = append(f.Env, "POMONA_PREVIEW="+number)
			o, err := f.Boot(t.Context())
			if err != nil || o.Status != 2 || !strings.Contains(read(t, o.Log), "malformed preview") {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
}

// TestPreviewByTheKernelsCommandLine needs one word to be told.
func TestPreviewByTheKernelsCommandLine(t *testing.T) {
	s := newSite(t)
	s.publish(s.release(200))
	s.preview("7", 150, "preview/7", previewKey)
	f := s.fec()
	f.PreviewKeys = []string{publicKey(t, previewKey)}
	cmdline := filepath.Join(t.TempDir(), "cmdline")
	if err := os.WriteFile(cmdline, []byte("quiet pomona.preview=7 root=/dev/nfs\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.Env = append(f.Env, "POMONA_CMDLINE="+cmdline)
	o, err := f.Boot(t.Context())
	if err != nil || o.Status != 0 || !strings.Contains(read(t, o.Log), "running: serial 150") {
		t.Errorf("%+v, %v: %s", o, err, read(t, o.Log))
	}
}
