package serve

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// role is what somebody may do with the submission API; each may what those before it may, but that a job has to do with its own
// submission only.
type role int

const (
	roleJob role = iota + 1
	roleRead
	roleReport
	roleOperate
)

var roles = map[string]role{"read": roleRead, "report": roleReport, "operate": roleOperate}

// caller is who has sent a request.
type caller struct {
	name string
	role role
}

// admit says who has sent a request, or with which status to refuse it. A job may do whatever there is to do with its own submission.
func (s *submissions) admit(r *http.Request, least role) (who caller, status int) {
	given := bearer(r)
	if key := r.PathValue("key"); submissionKey.MatchString(key) {
		if s.JobSecret != nil && hmac.Equal([]byte(given), []byte(JobToken(s.JobSecret, key))) {
			if !s.rate.allow(remote(r), key, true, s.Now()) {
				return who, http.StatusTooManyRequests
			}
			return caller{"job", roleJob}, 0
		}
	}
	who = s.holder(given)
	switch {
	case who.role == 0 && !s.rate.allow(remote(r), "", false, s.Now()):
		return who, http.StatusTooManyRequests // nobody guesses fast, and the log does not grow so
	case who.role == 0:
		return who, http.StatusUnauthorized
	case who.role < least:
		return who, http.StatusForbidden
	}
	return who, 0
}

// bearer is the token that a request was sent with; empty: none.
func bearer(r *http.Request) string {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return given
}

// holder is who has a token of the file. Every token is compared, in a time that tells nothing about it.
func (s *submissions) holder(given string) (who caller) {
	users, bad, err := readUsers(s.TokenFile)
	s.complain(errors.Join(err, bad))
	sum := sha256.Sum256([]byte(given))
	for token, user := range users {
		own := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(sum[:], own[:]) == 1 {
			who = user
		}
	}
	return who
}

// complain logs once, and again when it is something else, what is wrong with the file of tokens.
func (s *submissions) complain(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble.tell(s.Log, "read tokens of the submission API", err)
}

// CheckUsers says whether a file of tokens of the submission API can be used. A malformed line keeps no other from counting: it is logged
// instead.
func CheckUsers(file string) error {
	_, _, err := readUsers(file)
	return err
}

// readUsers reads who has which token. A malformed line, which bad tells of, keeps no other from counting; of two lines with one token the
// first counts.
func readUsers(file string) (users map[string]caller, bad, err error) {
	b, err := readSecrets(file, maxTokens)
	if err != nil {
		return nil, nil, err
	}
	users, number := map[string]caller{}, 0
	for line := range bytes.Lines(b) {
		number++
		words := strings.Fields(string(line))
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := checkUser(words, users); err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s:%d: %w", file, number, err))
			continue
		}
		users[words[1]] = caller{words[0], roles[words[2]]}
	}
	if len(users) == 0 {
		return nil, nil, errors.Join(fmt.Errorf("%q holds no token", file), bad)
	}
	return users, bad, nil
}

// checkUser says what is wrong with a line of the file of tokens, after those before.
func checkUser(words []string, before map[string]caller) error {
	if len(words) != 3 || roles[words[2]] == 0 {
		return errors.New("want NAME TOKEN ROLE, where ROLE is read, report or operate")
	}
	if len(words[1]) < minToken {
		return fmt.Errorf("the token has less than %d characters", minToken)
	}
	if _, twice := before[words[1]]; twice {
		return errors.New("somebody else has the same token")
	}
	return nil
}

// JobToken is the token by which the job of a submission reports, and about no other.
func JobToken(secret []byte, key string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("pomona job " + key)) // never fails
	return hex.EncodeToString(mac.Sum(nil))
}

const jobSecretFile = durable.Private + "/job-secret"

// JobSecret is what makes the tokens of jobs, as it lies in the private part of a root; it is made if there is none. Who removes it
// makes all tokens of jobs invalid that are under way.
func JobSecret(root *os.Root) ([]byte, error) {
	b, err := root.ReadFile(jobSecretFile)
	if err == nil && len(b) == sha256.Size {
		return b, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read secret of jobs: %w", err)
	}
	b = make([]byte, sha256.Size)
	rand.Read(b) // never fails
	if err := root.WriteFile(jobSecretFile+".new", b, 0o600); err != nil {
		return nil, fmt.Errorf("write secret of jobs: %w", err)
	}
	if err := root.Rename(jobSecretFile+".new", jobSecretFile); err != nil {
		return nil, fmt.Errorf("write secret of jobs: %w", err)
	}
	return b, nil
}
