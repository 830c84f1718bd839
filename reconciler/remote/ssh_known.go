package remote

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// HostKeyError says that a host shows another key than the one that is known of it, or that none is known.
type HostKeyError struct {
	Host  Host
	Got   string // the key that it shows, as type and base64; empty: none of a kind that is known
	Line  string // of a file of known hosts, if that were its key
	Known bool   // another one is known
}

// Error says what to do.
func (e *HostKeyError) Error() string {
	switch {
	case !e.Known:
		return fmt.Sprintf("nothing says which host key %s has; if it is this one, add to known hosts: %s", e.Host, e.Line)
	case e.Got == "":
		return fmt.Sprintf("%s has no host key of the kind that is known of it; if it was set up anew, replace the known key", e.Host)
	}
	return fmt.Sprintf("%s shows another host key than the known one: nothing was run; if it was set up anew, replace the known key by: %s", e.Host, e.Got)
}

// pins are the keys that one host may have.
type pins struct {
	host Host
	keys []ssh.PublicKey
	is   ssh.HostKeyCallback // instead of keys: what files of known hosts say
}

// pinned are the keys that are known of a host.
func (s *SSH) pinned(h Host) (pins, error) {
	p := pins{host: h}
	for _, line := range h.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return p, fmt.Errorf("read host key %q: %w", line, err)
		}
		p.keys = append(p.keys, key)
	}
	if len(p.keys) > 0 {
		return p, nil
	}
	var err error
	if p.is, err = s.knownHosts(); err != nil {
		return p, fmt.Errorf("read known hosts: %w", err)
	}
	// What is known of it is told by the refusal of a key that nobody has.
	var refused *knownhosts.KeyError
	if err := p.is(h.Address, &net.TCPAddr{}, nobody{}); errors.As(err, &refused) {
		for _, k := range refused.Want {
			p.keys = append(p.keys, k.Key)
		}
	}
	return p, nil
}

// usual is how a host is asked to prove any key, in ssh's order: dropbear 2022 dies if it is asked for a kind that it lacks.
var usual = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// algorithms are how a host is asked to prove one of its keys.
func (p pins) algorithms() []string {
	if len(p.keys) == 0 {
		return usual
	}
	var out []string
	for _, k := range p.keys {
		if k.Type() == ssh.KeyAlgoRSA { // SHA-1 proves nothing any more
			out = append(out, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			out = append(out, k.Type())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// check implements ssh.HostKeyCallback.
func (p pins) check(_ string, from net.Addr, key ssh.PublicKey) error {
	if p.is != nil {
		if p.is(p.host.Address, from, key) == nil {
			return nil
		}
	} else if slices.ContainsFunc(p.keys, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) }) {
		return nil
	}
	return &HostKeyError{
		Host: p.host, Known: len(p.keys) > 0,
		Got:  strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
		Line: knownhosts.Line([]string{knownhosts.Normalize(p.host.Address)}, key),
	}
}

// known is what files of known hosts said when they were read last.
type known struct {
	stamp string
	is    ssh.HostKeyCallback
}

// knownHosts reads the files of known hosts, unless they are as they were.
func (s *SSH) knownHosts() (ssh.HostKeyCallback, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stamp strings.Builder
	var there []string
	for _, name := range s.KnownHosts {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // as ssh does
		}
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(&stamp, info.ModTime().UnixNano(), info.Size(), inode(info))
		there = append(there, name)
	}
	if now := cmp.Or(stamp.String(), "none"); now != s.known.stamp {
		is, err := knownhosts.New(there...)
		if err != nil {
			return nil, err
		}
		s.known = known{now, is}
	}
	return s.known.is, nil
}

// nobody is a key that no host has.
type nobody struct{}

func (nobody) Type() string                        { return "none" }
func (nobody) Marshal() []byte                     { return nil }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("nobody's key") }
