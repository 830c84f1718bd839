package main

import (
	"errors"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/announce"
)

func TestPeopleAreToldOfHooksAsLongAsOneFails(t *testing.T) {
	var last announce.Event
	f := failingHooks{site: "linac", tell: func(e announce.Event) { last = e }}
	for _, c := range []struct {
		hook  string
		err   error
		title string
	}{
		{"10-a", nil, "every hook is told of what is published again"},
		{"10-a", errors.New("hook 10-a failed with exit status 1"), "not told of what is published: hook 10-a"},
		{"20-b", errors.New("hook 20-b took longer than 1m0s"), "not told of what is published: hook 10-a, 20-b"},
		{"10-a", nil, "not told of what is published: hook 20-b"},
		{"20-b", nil, "every hook is told of what is published again"},
	} {
		f.told(c.hook, c.err)
		if failing := last.Title != "every hook is told of what is published again"; last.Title != c.title || last.Kind != announce.HookFailing || last.Recovered == failing || last.Site != "linac" {
			t.Errorf("after %s, %v: %+v", c.hook, c.err, last)
		}
		if c.hook == "20-b" && c.err != nil && last.Text != "hook 10-a failed with exit status 1\nhook 20-b took longer than 1m0s" {
			t.Errorf("text %q", last.Text)
		}
	}
}
