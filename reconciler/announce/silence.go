package announce

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Silence notices that a branch moves and no webhook says so: the service sees it by polling alone, and later than it could.
type Silence struct {
	Patience time.Duration // that a delivery may take, before or after the branch is seen to move

	mu     sync.Mutex
	told   []string  // commits that deliveries named last
	vague  time.Time // of the last delivery that named none
	moved  map[string]time.Time
	silent bool
}

const maxTold = 1000

// Heard notes that a delivery told of a commit, or that it told of the branch and named none.
func (s *Silence) Heard(commit string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = false
	if commit == "" {
		s.vague = now
		return
	}
	s.told = append(s.told, commit)
	s.told = s.told[max(0, len(s.told)-maxTold):]
}

// Moved notes that the branch was seen to name another commit.
func (s *Silence) Moved(commit string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == nil {
		s.moved = map[string]time.Time{}
	}
	if _, ok := s.moved[commit]; !ok {
		s.moved[commit] = now
	}
}

// Silent says whether the branch has moved unheard since a delivery was heard last.
func (s *Silence) Silent(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for commit, at := range s.moved {
		ago := now.Sub(at)
		switch {
		case slices.Contains(s.told, commit), ago < -s.Patience: // the clock was set back
			delete(s.moved, commit)
		case ago >= s.Patience:
			delete(s.moved, commit)
			s.silent = s.silent || s.vague.Before(at.Add(-s.Patience))
		}
	}
	return s.silent
}

// Of is the event of whether it is silent now, for a Notifier.
func (s *Silence) Of(site string, now time.Time) Event {
	if !s.Silent(now) {
		return Event{Site: site, Kind: WebhookSilent, Recovered: true, Title: recovered[WebhookSilent], At: now}
	}
	return Event{Site: site, Severity: Warning, Kind: WebhookSilent, Title: "the branch moved, and no webhook said so", At: now,
		Text: fmt.Sprintf("Commits are found by polling alone. Look at the deliveries of the webhook at the forge: its address, its secret, and what is between. Nothing came within %s.", s.Patience)}
}
