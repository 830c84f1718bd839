package serve_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// wget is what a FEC has, in a folder of its own. Without -T, with which Debian 12's static busybox crashes.
func wget(t *testing.T, dir string, arguments ...string) {
	t.Helper()
	c := exec.Command(need(t, "busybox", "busybox-static"), append([]string{"wget", "-q"}, arguments...)...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("wget %q: %v\n%s", arguments, err, out)
	}
}

// TestBusybox downloads, resumes a download that was cut, and reports.
func TestBusybox(t *testing.T) {
	f := newFixture(t)
	var reports []serve.Report
	s := f.serve(serve.Options{Reports: func(r serve.Report) { reports = append(reports, r) }})
	dir := t.TempDir()
	want := func(name string, content []byte) {
		t.Helper()
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(have, content) {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(have), len(content), err)
		}
	}
	url := s.url("/fecs/host-1.example.org/software/demo-1.0.0.tar.gz")
	wget(t, dir, url)
	want("demo-1.0.0.tar.gz", archive)

	// Another first byte shows that only the rest is fetched.
	marked := append([]byte{^archive[0]}, archive[1:]...)
	if err := os.WriteFile(filepath.Join(dir, "demo-1.0.0.tar.gz"), marked[:150_000], 0o644); err != nil {
		t.Fatal(err)
	}
	wget(t, dir, "-c", url)
	want("demo-1.0.0.tar.gz", marked)

	wget(t, dir, "-O", "script", s.url("/fecs/kgp2cu02/init/10-env"))
	want("script", []byte(script))
	wget(t, dir, "-O", "answer", "--post-data", "fec=kgp2cu02&state=running", s.url("/-/report"))
	if len(reports) != 1 || reports[0].State != serve.Running {
		t.Errorf("reports %+v", reports)
	}
}
