package webhook

import (
	"errors"
	"net/http"
)

// genericEvent is what any script can send:
//
//	{"event": "push", "delivery": "ID", "repository": "OWNER/NAME", "branch": "main", "commit": "40 hex digits"}
//
// signed in header X-Signature as sha256=HEX, where HEX is the HMAC-SHA256 of the body under the secret. The delivery is any
// text that the sender never uses again, for instance a UUID. The commit may be left out, and a ping needs no branch.
type genericEvent struct {
	Event      string `json:"event"`
	Delivery   string `json:"delivery"`
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
	Commit     string `json:"commit"`
	Deleted    bool   `json:"deleted"`
}

func parseGeneric(_ http.Header, body []byte) (said, error) {
	var p genericEvent
	if err := decode(body, &p); err != nil {
		return said{}, err
	}
	s := said{about: repository{Name: p.Repository}}
	if p.Delivery == "" {
		return s, errors.New("no delivery: a body must name one that is never used again")
	}
	var err error
	switch p.Event {
	case Ping:
		s.Kind = Ping
	case Push:
		s.Kind, s.Branch, s.Deleted = Push, p.Branch, p.Deleted
		if s.Commit, err = commit(p.Commit); err == nil {
			err = checkBranch(p.Branch)
		}
	default:
		err = errIgnore
	}
	s.Delivery = p.Delivery
	return s, err
}
