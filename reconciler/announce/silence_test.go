package announce_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/announce"
)

func TestABranchThatMovesUnheardIsNoticed(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for name, c := range map[string]struct {
		happens func(s *announce.Silence)
		at      int
		silent  bool
	}{
		"nothing":                  {func(*announce.Silence) {}, 1000, false},
		"unheard, early":           {func(s *announce.Silence) { s.Moved("a", at(0)) }, 119, false},
		"unheard":                  {func(s *announce.Silence) { s.Moved("a", at(0)) }, 120, true},
		"seen twice":               {func(s *announce.Silence) { s.Moved("a", at(0)); s.Moved("a", at(100)) }, 120, true},
		"heard before":             {func(s *announce.Silence) { s.Heard("a", at(0)); s.Moved("a", at(5000)) }, 5120, false},
		"heard after":              {func(s *announce.Silence) { s.Moved("a", at(0)); s.Heard("a", at(60)) }, 120, false},
		"another heard":            {func(s *announce.Silence) { s.Moved("a", at(0)); s.Heard("b", at(60)) }, 120, true},
		"heard without its commit": {func(s *announce.Silence) { s.Heard("", at(0)); s.Moved("a", at(60)) }, 180, false},
		"heard so long before":     {func(s *announce.Silence) { s.Heard("", at(0)); s.Moved("a", at(600)) }, 720, true},
		"again heard":              {func(s *announce.Silence) { s.Moved("a", at(0)); s.Silent(at(120)); s.Heard("b", at(130)) }, 140, false},
		"the clock was set back":   {func(s *announce.Silence) { s.Moved("a", at(0)); s.Silent(at(-3600)) }, 120, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := announce.Silence{Patience: 2 * time.Minute}
			c.happens(&s)
			if got := s.Silent(at(c.at)); got != c.silent {
				t.Errorf("silent %v, want %v", got, c.silent)
			}
			if e := s.Of("acc", at(c.at)); e.Recovered == c.silent || e.Kind != announce.WebhookSilent {
				t.Errorf("%+v", e)
			}
		})
	}
	s := announce.Silence{Patience: time.Minute}
	for i := range 5000 {
		s.Heard(strconv.Itoa(i), start)
	}
	s.Moved("4999", start)
	if s.Silent(at(60)) {
		t.Error("the last of many is forgotten")
	}
}
