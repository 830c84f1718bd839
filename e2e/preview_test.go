package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// previewing is a service that serves previews of pull requests, at most two.
func previewing(t *testing.T) (h *reviewed, key string) {
	t.Helper()
	key = filepath.Join(t.TempDir(), "preview")
	must(t, "keygen", key)
	return serveReviewed(t, fmt.Sprintf("previews: {key: %q, most: 2}", key+".sec"), ""), key
}

func (h *reviewed) preview(number int) bool {
	return get(fmt.Sprintf("http://%s/previews/%d/index", h.listen, number)) == http.StatusOK
}

// bump proposes version 3.1.0 for one FEC of the ring.
func (h *reviewed) bump(branch, fec string) (number int, head string) {
	h.world.t.Helper()
	return h.propose(branch, 0, func() {
		h.edit("fecs/ring/ring.cue", fmt.Sprintf("%q: *\"3.0.2\"", fec), fmt.Sprintf("%q: \"3.1.0\"", fec))
	})
}

// told is a FEC that is to boot a preview.
func (f fec) told(number int, key string) fec {
	f.t.Helper()
	dir := filepath.Join(f.dir, "preview-keys")
	b, err := os.ReadFile(key + ".pub")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "preview.pub"), b, 0o644)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.env = []string{fmt.Sprintf("POMONA_PREVIEW=%d", number), "POMONA_PREVIEW_KEYS=" + dir}
	return f
}

// objects is how many objects the root holds.
func (w world) objects() (n int) {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.root, "objects/sha256/*/*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(names)
}

// TestPreviewOfAPullRequest boots what a pull request proposes, where a FEC is told so and nowhere else, until it is closed.
func TestPreviewOfAPullRequest(t *testing.T) {
	t.Parallel()
	h, key := previewing(t)
	before := h.objects()
	number, head := h.bump("newer", "1")
	h.checked(head, "success")
	if comment := h.comment(number); !strings.Contains(comment, fmt.Sprintf("http://%s/previews/%d/ until", h.listen, number)) || !strings.Contains(comment, "pomona.preview=1") {
		t.Errorf("the comment tells of no preview:\n%s", comment)
	}
	if !h.preview(number) {
		t.Fatal("there is no preview")
	}

	f := h.newFEC("kgp1bp01", "http://"+h.listen)
	f.mustBoot()
	released := f.slot("current")
	if !installed(t, released, "3.0.2") || installed(t, released, "3.1.0") {
		t.Errorf("%s boots %s", f.name, released)
	}
	// A FEC that is sent to the preview by its server, or served it in place of a release, refuses it.
	f.server += "/previews/1"
	if code, said := f.boot(); code != 0 || !strings.Contains(said, "no key in") || !strings.Contains(said, "fallback") || f.slot("current") != released {
		t.Errorf("a preview in place of a release: exit code %d, %s\n%s", code, f.slot("current"), said)
	}
	f.server = "http://" + h.listen
	told := f.told(number, key)
	told.mustBoot()
	if slot := f.slot("previews/1/current"); !installed(t, slot, "3.1.0") {
		t.Errorf("the preview boots %s", slot)
	}
	if log := h.service.log(); !strings.Contains(log, "state=running") || !strings.Contains(log, "preview=1 fec=kgp1bp01") {
		t.Errorf("the preview's boot is not reported")
	}
	// With both keys in one place, the channel still keeps them apart.
	told.env = []string{"POMONA_PREVIEW=2", told.env[1], "POMONA_RETRIES=1"}
	if code, _ := told.boot(); code != 2 {
		t.Errorf("a preview that is not there: exit code %d", code)
	}

	// It outlives the service, and what is released is what the commit says.
	if err := h.service.end(syscall.SIGKILL); err == nil {
		t.Error("killed, and ended well")
	}
	h.service = serveFile(t, h.file)
	eventually(t, "the service is back", func() bool { return h.preview(number) })
	must(t, "verify", h.site, "--root", h.root, "--public-key", filepath.Join(h.world.dir, "key.pub"), "--rev", "main")

	// Another push takes its place; a third pull request takes the oldest one's.
	_, head = h.propose("newer", number, func() { h.edit("fecs/ring/ring.cue", `"2": "3.1.0"`, `"2": "3.0.2"`) })
	h.checked(head, "success")
	told = f.told(number, key)
	told.mustBoot()
	second, head := h.propose("second", 0, func() { h.note("second") })
	h.checked(head, "success")
	third, head := h.propose("third", 0, func() { h.note("third") })
	h.checked(head, "success")
	if h.preview(number) || !h.preview(second) || !h.preview(third) {
		t.Errorf("previews: %v %v %v", h.preview(number), h.preview(second), h.preview(third))
	}

	// Closed, all of them are gone, with what they alone needed.
	for n := number; n <= third; n++ {
		h.hub.ClosePull(n, false)
		h.hub.TellPull("closed", n)
	}
	eventually(t, "previews are gone", func() bool { return !h.preview(second) && !h.preview(third) })
	eventually(t, "their objects are gone", func() bool { return h.objects() == before })
	f.mustBoot()
	if f.slot("current") != released {
		t.Errorf("the FEC boots %s", f.slot("current"))
	}
	if _, err := os.Stat(filepath.Join(f.dir, "state/previews")); !os.IsNotExist(err) {
		t.Errorf("the FEC keeps previews: %v", err)
	}
}

// installed says whether a slot holds a version.
func installed(t *testing.T, slot, version string) (found bool) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(slot, ".pomona/software"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), " "+version+" ")
}

// TestPreviewsAreNotKeptWithoutAConfiguration takes previews out of the configuration of a running service. Somebody else
// writes the root just then: what is served does not wait for him.
func TestPreviewsAreNotKeptWithoutAConfiguration(t *testing.T) {
	t.Parallel()
	h, _ := previewing(t)
	number, head := h.bump("newer", "1")
	h.checked(head, "success")
	if !h.preview(number) {
		t.Fatal("there is no preview")
	}
	b, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(filepath.Join(h.root, ".pomona/lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // nothing is written
	eventually(t, "the root can be locked", func() bool { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil })
	starts := func() int { return strings.Count(h.service.log(), "serving tree") }
	before, at := starts(), strings.Index(string(b), "previews: {")
	if err := os.WriteFile(h.file, []byte(string(b[:at])+"}\n"), fs.FileMode(0o644)); err != nil {
		t.Fatal(err)
	}
	index := "http://" + h.listen + "/index"
	eventually(t, "the tree is served again", func() bool { return starts() > before && get(index) == 200 })
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the preview is gone", func() bool { return get(index) == 200 && !h.preview(number) })
}
