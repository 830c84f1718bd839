package webhook

import "net/http"

// Kinds are the kinds of senders.
var Kinds = []string{"github", "gitea", "gitlab", "generic"}

// kind is what differs between kinds of senders.
type kind struct {
	prove func(ss []secret, h http.Header, body []byte) bool
	parse func(h http.Header, body []byte) (said, error)
	id    func(h http.Header) string // of a delivery
}

var kinds = map[string]kind{
	"github": {
		prove: func(ss []secret, h http.Header, body []byte) bool {
			return signedBy(ss, h.Values("X-Hub-Signature-256"), "sha256=", body)
		},
		parse: parseGitHub,
		id:    func(h http.Header) string { return h.Get("X-GitHub-Delivery") },
	},
	"gitea": {
		prove: func(ss []secret, h http.Header, body []byte) bool {
			signature := h.Values("X-Forgejo-Signature")
			if len(signature) == 0 {
				signature = h.Values("X-Gitea-Signature")
			}
			return signedBy(ss, signature, "", body)
		},
		parse: parseGitea,
		id:    func(h http.Header) string { return firstOf(h, "X-Forgejo-Delivery", "X-Gitea-Delivery") },
	},
	"gitlab": {
		prove: func(ss []secret, h http.Header, _ []byte) bool { return sentBy(ss, h.Values("X-Gitlab-Token")) },
		parse: parseGitLab,
		id:    func(h http.Header) string { return firstOf(h, "Idempotency-Key", "X-Gitlab-Event-UUID") },
	},
	"generic": {
		prove: func(ss []secret, h http.Header, body []byte) bool {
			return signedBy(ss, h.Values("X-Signature"), "sha256=", body)
		},
		parse: parseGeneric,
		id:    func(http.Header) string { return "" }, // its body has it
	},
}
