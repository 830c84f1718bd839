package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Uploads takes files for the blob store: PUT /-/blobs/sha256/HEX with a bearer token. A zero Uploads takes none.
type Uploads struct {
	// TokenFile holds the tokens, a line each; it is read anew for each upload, so that one can be replaced at any time.
	TokenFile string
	MaxSize   int64 // bytes of one file (4 GiB)
	AtOnce    int   // uploads at once (4); more are told to come back
	// Has says whether the store has a file.
	Has func(artifact.Digest) bool
	// Put stores what write produces, or nothing when write fails.
	Put func(ctx context.Context, write func(io.Writer) error) error
}

// minToken is the shortest token that counts, in bytes: what people can remember, others can guess.
const minToken = 16

// maxTokens is how many bytes a token file may have.
const maxTokens = 64 << 10

// uploads is Uploads at work.
type uploads struct {
	Uploads
	log   *slog.Logger
	stall time.Duration
	slots chan struct{}
}

func newUploads(u Uploads, log *slog.Logger, stall time.Duration) *uploads {
	if u.MaxSize <= 0 {
		u.MaxSize = 4 << 30
	}
	if u.AtOnce <= 0 {
		u.AtOnce = 4
	}
	return &uploads{u, log, stall, make(chan struct{}, u.AtOnce)}
}

// ServeHTTP takes one file. Nobody without a token learns which files are there.
func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request, name string) {
	u.wait(w) // also for what is left over of a body that is refused: the server reads it
	if u.TokenFile == "" || u.Put == nil {
		refuse(w, http.StatusNotFound)
		return
	}
	if !allow(w, r, http.MethodPut, http.MethodHead) {
		return
	}
	if !u.known(r) {
		u.log.Warn("refused upload: no valid token", "from", remote(r))
		w.Header().Set("WWW-Authenticate", `Bearer realm="pomona"`)
		w.Header().Set("Connection", "close") // what the client is about to send is not read
		refuse(w, http.StatusUnauthorized)
		return
	}
	want, err := artifact.ParseDigest(name)
	switch {
	case err != nil:
		sendText(w, http.StatusBadRequest, "malformed digest\n")
	case u.Has(want):
		w.Header().Set("Connection", "close") // likewise
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodHead:
		refuse(w, http.StatusNotFound)
	case r.ContentLength < 0:
		refuse(w, http.StatusLengthRequired)
	case r.ContentLength > u.MaxSize:
		w.Header().Set("Connection", "close") // likewise
		refuse(w, http.StatusRequestEntityTooLarge)
	default:
		u.take(w, r, want)
	}
}

func (u *uploads) take(w http.ResponseWriter, r *http.Request, want artifact.Digest) {
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Connection", "close") // what the client is about to send is not read
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	err := u.Put(r.Context(), func(to io.Writer) error { return u.receive(w, r, to, want) })
	var forged *forgedError
	switch {
	case err == nil:
		u.log.Info("received blob", "digest", want.String(), "bytes", r.ContentLength, "from", remote(r))
		w.WriteHeader(http.StatusCreated)
	case errors.As(err, &forged):
		u.log.Warn("refused upload: another digest", "digest", want.String(), "got", forged.got.String(), "from", remote(r))
		sendText(w, http.StatusBadRequest, forged.Error()+"\n")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		u.log.Error("stored no blob", "digest", want.String(), "err", err)
		w.Header().Set("Connection", "close") // the rest is not read
		sendText(w, http.StatusInsufficientStorage, "no space left\n")
	default:
		u.log.Warn("stored no blob", "digest", want.String(), "from", remote(r), "err", err)
		w.Header().Set("Connection", "close") // likewise
		refuse(w, http.StatusInternalServerError)
	}
}

// forgedError says that a file is not what its name says.
type forgedError struct{ got artifact.Digest }

func (e *forgedError) Error() string { return fmt.Sprintf("what came has the digest %s", e.got) }

// receive copies a body that must not stall and must have a digest.
func (u *uploads) receive(w http.ResponseWriter, r *http.Request, to io.Writer, want artifact.Digest) error {
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, h), &patient{r.Body, func() { u.wait(w) }}); err != nil {
		return err // also when the body ends too early
	}
	if got := artifact.Digest(h.Sum(nil)); got != want {
		return &forgedError{got}
	}
	return nil
}

// wait gives the client some time for its next bytes.
func (u *uploads) wait(w http.ResponseWriter) {
	// Only a ResponseWriter without a connection has no deadline, and that cannot stall.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(u.stall))
}

// patient puts off a deadline before each read.
type patient struct {
	r     io.Reader
	later func()
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	p.later()
	return p.r.Read(b)
}

// known says whether the request has a token of the file. Every token is compared, in a time that tells nothing about it.
func (u *uploads) known(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	tokens, err := readTokens(u.TokenFile)
	if err != nil {
		u.log.Error("read no upload tokens", "err", err)
		return false
	}
	sum, found := sha256.Sum256([]byte(given)), 0
	for _, token := range tokens {
		own := sha256.Sum256(token)
		found |= subtle.ConstantTimeCompare(sum[:], own[:])
	}
	return found == 1
}

// CheckTokens says whether a token file can be used: nobody else may read it, and its tokens are long enough.
func CheckTokens(file string) error {
	_, err := readTokens(file)
	return err
}

func readTokens(file string) (tokens [][]byte, err error) {
	b, err := readSecrets(file, maxTokens)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(line) < minToken {
			return nil, fmt.Errorf("a token in %q has less than %d characters", file, minToken)
		}
		tokens = append(tokens, line)
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("%q holds no token", file)
	}
	return tokens, nil
}
