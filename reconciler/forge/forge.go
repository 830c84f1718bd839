// Package forge speaks with the service where a site's pull requests are reviewed: GitHub, GitHub Enterprise, Gitea, Forgejo.
//
// All calls may be repeated: what a forge says already is not said again. Each forge's answers are hostile input, and each
// forge may be slow, dying or tired of us; transport.go holds what follows from that.
package forge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Forge is what Pomona asks of a forge. Errors are *remote.Wrong (a person must change something), *remote.Unavailable (try
// again later) or *Limited (not before a time).
type Forge interface {
	// Open are the open pull requests into the branch, oldest first.
	Open(ctx context.Context) ([]Pull, error)
	// Status says one line about a commit.
	Status(ctx context.Context, commit string, s Status) error
	// Check says much about a commit, with annotations at lines where the forge can show them; else it is a Status.
	Check(ctx context.Context, commit string, c Check) error
	// Comment is the one comment on a pull request, Markdown, written anew in its place.
	Comment(ctx context.Context, number int, body string) error
	// Deployment says what became of a commit in an environment.
	Deployment(ctx context.Context, d Deployment) error
	// Redeliver has deliveries of webhooks repeated that failed since a time, MaxRedelivered of them at once, and says how many.
	Redeliver(ctx context.Context, since time.Time) (int, error)
	// OpenChange opens a pull request for a branch that was pushed, and gives its address; one that is open already is kept.
	OpenChange(ctx context.Context, c Change) (url string, err error)
	// Approvers are those who have approved, as it was merged, the pull request that brought a commit, and its number; only those who may
	// write to the repository, each by the address that Options.People has for the login. Who has none counts for nobody, and an *Unknown says so beside
	// the others; without any addresses they are LOGIN@KIND: what is before the @ of somebody's address anybody may take for a login. Who has changed his
	// mind has not approved. Number 0: no merged one brought it.
	Approvers(ctx context.Context, commit string) (number int, people []string, err error)
}

// ErrNotOffered says that a forge has no such thing.
var ErrNotOffered = errors.New("this forge does not offer that")

// Pull is an open pull request.
type Pull struct {
	Number     int
	Title      string
	Author     string // login
	Head       string // commit
	HeadBranch string
	Base       string // commit that it was last compared with
	Branch     string // that it goes into
	MergeRef   string // reference of the merge result, which may be out of date or not there
	URL        string // of its page
	Fork       bool   // its head is in another repository
	Draft      bool
	Updated    time.Time
}

// State of a commit.
type State string

// States. A forge that has no Neutral shows it as Success.
const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
	Error   State = "error"
	Neutral State = "neutral"
)

// Status is one line about a commit.
type Status struct {
	Context string // name of what says it, for instance pomona/plan
	State   State
	Text    string // cut at 140 characters
	Link    string // may be empty
}

// Check is what a check of a commit found.
type Check struct {
	Name        string // for instance pomona/plan
	State       State
	Title       string // one line
	Summary     string // Markdown
	Text        string // Markdown, may be empty
	Link        string // may be empty
	Annotations []Annotation
}

// Annotation is a remark at a line of a file.
type Annotation struct {
	File    string // in the repository
	Line    int    // from 1; 0 when unknown
	Column  int    // from 1; 0 when unknown
	Title   string // may be empty
	Text    string
	Warning bool
}

// Deployment is what became of a commit in an environment.
type Deployment struct {
	Commit      string
	Environment string
	State       State  // Pending: it is being published
	Text        string // cut at 140 characters
	Link        string // where it is served; may be empty
	Log         string // address of its report; may be empty
	Production  bool
}

// Change is a pull request to open.
type Change struct {
	Branch string // pushed already
	Base   string // empty: the branch of Options
	Title  string
	Body   string // Markdown
}

// TokenSource gives a token that is good now.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// TokenFunc is a function as a TokenSource.
type TokenFunc func(ctx context.Context) (string, error)

// Token implements TokenSource.
func (f TokenFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

// Options say which repository of which forge it is.
type Options struct {
	API        string // address of the forge's API; empty: public GitHub. GitHub Enterprise and Gitea: their own address is enough
	Repository string // OWNER/NAME
	Branch     string // into which pull requests go
	Token      TokenSource
	App        *App              // nil: the token is a user's. GitHub only
	Site       string            // tells comments of several sites in one repository apart
	People     map[string]string // addresses of people, by their login there
	Addresses  bool              // people are known by addresses elsewhere too, as signers: a login without one counts for nobody, also if none has one
	Hook       string            // address of our webhook, to find its deliveries; empty: the only one. An App has its own
	Link       string            // of a page that says what a cut comment does not; may be empty
	TLS        *tls.Config       // nil: the machine's certificates
	Now        func() time.Time
	Sleep      func(ctx context.Context, d time.Duration) error
}

// App says that Options.Token is that of a GitHub App's installation.
type App struct {
	ID    int64
	Proof TokenSource // JSON web tokens that prove the App itself, RS256
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// splitRepository is the owner and the name, which become segments of paths.
func splitRepository(s string) (owner, name string, err error) {
	owner, name, _ = strings.Cut(s, "/")
	for _, part := range []string{owner, name} {
		if !nameForm.MatchString(part) || strings.Trim(part, ".") == "" {
			return "", "", fmt.Errorf("malformed repository %q: want OWNER/NAME", s)
		}
	}
	return owner, name, nil
}

var commitForm = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func checkCommit(id string) error {
	if !commitForm.MatchString(id) {
		return fmt.Errorf("malformed commit %q", id)
	}
	return nil
}

// parseAPI is the address of an API, with a slash at its end.
func parseAPI(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("malformed address of an API %q: want https", s)
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	return u, nil
}

var (
	_ Forge = (*GitHub)(nil)
	_ Forge = (*Gitea)(nil)
)

// Kinds are the kinds of forges.
var Kinds = []string{"github", "gitea"}

// New is a repository on a forge of one of Kinds.
func New(kind string, o Options) (Forge, error) {
	switch kind {
	case "github":
		return NewGitHub(o)
	case "gitea":
		return NewGitea(o)
	}
	return nil, fmt.Errorf("unknown kind of forge %q: want one of %s", kind, strings.Join(Kinds, ", "))
}
