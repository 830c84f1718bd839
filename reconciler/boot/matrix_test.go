package boot_test

import (
	"testing"
)

func TestFirst(t *testing.T) {
	s := newSite(t)
	f := s.fec()
	s.publish(s.release(100))
	boots(t, f, "running", 100, "")
	t.Log(s.asked(), s.told())
	t.Log(read(t, f.Dir, "console.log"))
	t.Log(read(t, f.Root(), "run/env-bpm"))
	s.fail(nil)
	boots(t, f, "running", 100, "")
	t.Log(s.asked(), s.told())
	s.publish(s.release(101))
	boots(t, f, "running", 101, "")
	t.Log(read(t, f.Dir, "console.log"))
}
