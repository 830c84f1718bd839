package submit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// TestWhatIsKeptOfARunIsWholeOrNotThere whenever whoever keeps it dies.
func TestWhatIsKeptOfARunIsWholeOrNotThere(t *testing.T) {
	first := time.Unix(1, 0)
	dead := errors.New("dead")
	for n := 0; ; n++ {
		d, left, died := newDesk(t), n, false
		for i, text := range []string{"one", "two"} {
			if err := d.KeepDecision("keepup/1.a", first.Add(time.Duration(i)), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		d.Hook = func(_ durable.Op, do func() error) error {
			if left--; left < 0 {
				died = true
				return dead
			}
			return do()
		}
		failed := errors.Join(d.KeepDecision("keepup/1.a", first.Add(time.Hour), []byte("three")), d.KeepEnd("keepup/1.a", []byte("ended")), d.KeepEnd("keepup/2", []byte("ended too")))
		if died != (failed != nil) {
			t.Fatalf("after %d changes: %v", n, failed)
		}
		kept, err := d.Kept()
		if err != nil || len(kept) == 0 || kept[0].UID != "keepup/1.a" || len(kept) > 2 {
			t.Fatalf("after %d changes: %v, %v", n, kept, err)
		}
		all := string(bytes.Join(kept[0].Decisions, []byte(" ")))
		if all != "one two" && all != "one two three" || kept[0].Ended != nil && string(kept[0].Ended) != "ended" {
			t.Fatalf("after %d changes: %q, %q", n, all, kept[0].Ended)
		}
		if !died {
			if all != "one two three" || string(kept[0].Ended) != "ended" || len(kept) != 2 || string(kept[1].Ended) != "ended too" {
				t.Errorf("%q", kept)
			}
			break
		}
	}
	d := newDesk(t)
	if err := d.KeepEnd("../x", nil); err == nil {
		t.Error("kept outside of its folder")
	}
	if kept, err := d.Kept(); err != nil || kept != nil {
		t.Errorf("%v, %v", kept, err)
	}
	if err := os.MkdirAll(filepath.Join(d.Folder, "runs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Folder, "runs", "keepup"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Kept(); err == nil {
		t.Error("what cannot be read was taken for nothing")
	}
}
