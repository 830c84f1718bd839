package webhook

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Kinds of events.
const (
	Push       = "push"        // a branch has a new commit, or is gone
	Pull       = "pull"        // a pull request was opened, changed or closed
	MergeGroup = "merge-group" // a merge queue wants a combination checked
	Ping       = "ping"        // the forge tries whether it is heard
)

// What happened to a pull request.
const (
	Opened  = "opened"  // also: again, or ready for review
	Updated = "updated" // commits, base, title or text
	Closed  = "closed"  // merged or not
)

// Event is what a verified delivery says. It is a hint: fields other than Source, Forge, Kind and Delivery may be wrong or
// out of date, though never malformed.
type Event struct {
	Source     string // name of the source
	Forge      string // one of Kinds
	Kind       string
	Repository string // full name; empty for a ping of more than one repository
	Branch     string // push: that which moved; pull request, merge group: that which it goes into
	Commit     string // push: the new one, empty if deleted; pull request, merge group: its head. 40 or 64 hex digits
	Before     string // push: the old one, empty if it is new
	Deleted    bool   // push: the branch is gone
	Number     int    // of a pull request
	Action     string // of a pull request: Opened, Updated, Closed
	Merged     bool   // a closed pull request was merged
	Fork       bool   // its head is in another repository
	Draft      bool
	Author     string // who opened the pull request
	Delivery   string // id that the forge gave the delivery
}

// errIgnore says that a delivery is right and means nothing here.
var errIgnore = errors.New("nothing that Pomona acts on")

// repository is who an event is about.
type repository struct {
	ID   int64  `json:"id"`
	Name string `json:"full_name"`
}

// said is an event with the repository that it is about.
type said struct {
	Event
	about repository
}

// decode reads JSON, which may have members that nobody asked for.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("malformed JSON") // the cause may quote the body
	}
	return nil
}

// branch is the branch that a full reference names; a tag is ignored.
func branch(ref string) (string, error) {
	name, ok := strings.CutPrefix(ref, "refs/heads/")
	if !ok {
		return "", errIgnore
	}
	return name, checkBranch(name)
}

// checkBranch refuses what git would not take as a branch's name (git check-ref-format), as far as it could do harm.
func checkBranch(name string) error {
	switch {
	case name == "", len(name) > 1024, strings.HasPrefix(name, "-"), strings.HasPrefix(name, "/"), strings.HasSuffix(name, "/"),
		strings.Contains(name, ".."), strings.Contains(name, "//"), strings.ContainsAny(name, " ~^:?*[\\\x7f"),
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\uFFFD' }):
		return errors.New("malformed branch")
	}
	return nil
}

// commit checks an object id: 40 hex digits, or 64. Nothing but zeros means none.
func commit(id string) (string, error) {
	if strings.Trim(id, "0") == "" {
		return "", nil
	}
	if _, err := hex.DecodeString(id); err != nil || len(id) != 40 && len(id) != 64 {
		return "", errors.New("malformed commit")
	}
	return strings.ToLower(id), nil
}

// pushed is a push event.
func pushed(about repository, ref, before, after string, deleted bool) (said, error) {
	s := said{Event: Event{Kind: Push}, about: about}
	var err error
	if s.Branch, err = branch(ref); err != nil {
		return s, err
	}
	if s.Before, err = commit(before); err != nil {
		return s, err
	}
	s.Commit, err = commit(after)
	s.Deleted = deleted || s.Commit == ""
	if s.Deleted {
		s.Commit = ""
	}
	return s, err
}

// pulled checks an event of a pull request.
func pulled(s said) (said, error) {
	s.Kind = Pull
	var err error
	if s.Commit, err = commit(s.Commit); err != nil {
		return s, err
	}
	if s.Commit == "" && s.Action != Closed {
		return s, errors.New("malformed commit: none")
	}
	if s.Number <= 0 || s.Number > 1<<31-1 {
		return s, fmt.Errorf("malformed number %d of a pull request", s.Number)
	}
	return s, checkBranch(s.Branch)
}
