package repo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// SignerFiles are files that say who may sign commits. They are read anew when they change.
type SignerFiles struct {
	SSH string // allowed signers, as ssh-keygen(1) has them; may be empty
	GPG string // public keys, armored or not; may be empty
}

// Signers say whose signatures count. A nil *Signers demands none.
type Signers struct {
	files SignerFiles
	now   func() time.Time
	mu    sync.Mutex
	seen  string
	ssh   []sshSigner
	gpg   keyring
}

// maxSigners is the largest file of keys, in bytes.
const maxSigners = 16 << 20

// OpenSigners reads the files. Now is when a key must not have expired.
func OpenSigners(files SignerFiles, now func() time.Time) (*Signers, error) {
	s := &Signers{files: files, now: now}
	if files == (SignerFiles{}) {
		return nil, errors.New("read signers: no file says who they are")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.refresh()
}

// Verify checks the signature of a commit's raw bytes, and says who made it. What go-git makes of a commit, or writes again,
// does not count: a signature is over bytes.
func (s *Signers) Verify(raw []byte) (who string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return "", err
	}
	c, err := splitSigned(raw)
	if err != nil {
		return "", err
	}
	switch {
	case len(c.signature) == 0:
		return "", errors.New("it is not signed")
	case bytes.HasPrefix(c.signature, []byte(sshBegin)):
		return verifySSH(s.ssh, c, s.now())
	case bytes.HasPrefix(c.signature, []byte("-----BEGIN PGP SIGNATURE-----")):
		return s.gpg.verify(c, s.now())
	}
	return "", errors.New("its signature is neither of SSH nor of GPG")
}

// People are those whose signatures count now, as Verify says who they are; nobody, where the files cannot be read.
func (s *Signers) People() (people []string) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refresh() != nil {
		return nil
	}
	for _, signer := range s.ssh {
		if signer.covers(s.now()) {
			people = append(people, signer.principals)
		}
	}
	for _, key := range s.gpg {
		if _, signs := key.SigningKey(s.now()); signs && key.PrimaryIdentity() != nil {
			people = append(people, key.PrimaryIdentity().Name)
		}
	}
	return people
}

// refresh reads the files if they have changed. One that cannot be read lets nobody in.
func (s *Signers) refresh() error {
	stamp := s.stampOf()
	if stamp == s.seen {
		return nil
	}
	s.ssh, s.gpg, s.seen = nil, nil, ""
	if s.files.SSH != "" {
		b, err := readSigners(s.files.SSH)
		if err == nil {
			s.ssh, err = parseAllowed(b)
		}
		if err != nil {
			return fmt.Errorf("read allowed signers: %w", err)
		}
	}
	if s.files.GPG != "" {
		b, err := readSigners(s.files.GPG)
		if err == nil {
			s.gpg, err = parseKeyring(b)
		}
		if err != nil {
			return fmt.Errorf("read keyring: %w", err)
		}
	}
	s.seen = stamp
	return nil
}

func readSigners(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSigners {
		return nil, fmt.Errorf("%q has %d bytes, more than %d", name, info.Size(), maxSigners)
	}
	return os.ReadFile(name)
}

func (s *Signers) stampOf() string {
	var all strings.Builder
	all.WriteString("files ")
	for _, name := range []string{s.files.SSH, s.files.GPG} {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintf(&all, "%d %d", info.ModTime().UnixNano(), info.Size())
			if s, ok := info.Sys().(*syscall.Stat_t); ok { // another file may have come within one tick of the clock
				fmt.Fprintf(&all, " %d %d.%d;", s.Ino, s.Ctim.Sec, s.Ctim.Nsec)
			}
		}
	}
	return all.String()
}

// Stamp changes when the keys do.
func (s *Signers) Stamp() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stampOf()
}

// signed is a commit taken apart: what was signed, and the signature.
type signed struct {
	payload   []byte
	signature []byte
	committed time.Time
}

// splitSigned takes the header gpgsig out of a commit, as git does: its lines go on with a space. A commit with two of them,
// or one for another hash, is refused: two readers might check two different things.
func splitSigned(raw []byte) (c signed, err error) {
	head, body, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		return c, errors.New("it has no message")
	}
	inside, found := false, false
	for line := range bytes.Lines(append(bytes.Clone(head), '\n')) {
		name, value, _ := bytes.Cut(line, []byte(" "))
		switch {
		case inside && line[0] == ' ':
			c.signature = append(c.signature, line[1:]...)
			continue
		case string(name) == "gpgsig" && !found:
			c.signature = append(c.signature, value...)
			inside, found = true, true
			continue
		case strings.HasPrefix(string(name), "gpgsig"):
			return c, errors.New("it has another signature too")
		case string(name) == "committer":
			c.committed, err = committerTime(value)
		}
		inside = false
		c.payload = append(c.payload, line...)
	}
	c.payload = append(append(c.payload, '\n'), body...)
	return c, err
}

// committerTime reads "NAME <ADDRESS> SECONDS ZONE".
func committerTime(value []byte) (time.Time, error) {
	rest := value[bytes.LastIndexByte(value, '>')+1:]
	var seconds int64
	if _, err := fmt.Sscan(string(rest), &seconds); err != nil {
		return time.Time{}, errors.New("malformed date of its committer")
	}
	return time.Unix(seconds, 0), nil
}
