package crowd

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Data is the folder that current names on every FEC of a crowd, as commands over ssh name it.
const Data = "/var/lib/pomona/current"

// Answer is what a FEC does with a command that came over ssh; status is its exit status. With taken false the FEC answers as ever.
type Answer func(command string, in io.Reader, stdout, stderr io.Writer) (status int, taken bool)

// FEC is one simulated front-end computer. What it has installed survives its reboots, as on flash.
type FEC struct {
	Name    string
	crowd   *Crowd
	number  int
	host    ssh.Signer
	booting sync.Mutex // one boot at a time

	mu        sync.Mutex
	status    Status
	installed tree.Manifest
	body      []byte // the manifest that is installed, with its signatures
	installs  int    // how often another one was installed
	at        int64  // of the last authenticated report, seconds
	slot      string
	inhibit   string
	asked     string // the last restart or reboot since the boot
	broken    bool
	mute      bool
	answer    Answer
	files     map[string][]byte // below current
	dev       map[string]Dev
	log       []string // commands that came over ssh
	listener  net.Listener
	conns     map[net.Conn]bool
}

// Status is what became of a FEC's last boot.
type Status struct {
	State  string // a word of the report protocol; empty before the first boot
	Serial int64
	Slot   string
	Detail string
	Boots  int // since the crowd was made: reboots
	Starts int // how often what is installed was started: boots and restarts
}

// Dev is a software that was put on a FEC beside its release.
type Dev struct {
	Version string
	Size    int64 // bytes of its archive
	Started bool
}

func newFEC(c *Crowd, number int, name string) (*FEC, error) {
	seed := sha256.Sum256(fmt.Appendf(nil, "host key %d %s", c.settings.Seed, name))
	host, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return nil, err
	}
	return &FEC{Name: name, crowd: c, number: number, host: host, files: map[string][]byte{}, dev: map[string]Dev{}, conns: map[net.Conn]bool{}}, nil
}

// Status is what became of the last boot or restart.
func (f *FEC) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Inhibit forbids restarts and reboots, with a reason; an empty one allows them.
func (f *FEC) Inhibit(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inhibit = reason
}

// Break has the init scripts fail from now on, whatever the serial; or no longer.
func (f *FEC) Break(broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

// Mute keeps the FEC from reporting; or no longer.
func (f *FEC) Mute(mute bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = mute
}

// Write puts a file below current, where persistent data lies. Nil removes it.
func (f *FEC) Write(path string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if content == nil {
		delete(f.files, path)
		return
	}
	f.files[path] = content
}

// Answer has commands that come over ssh answered by a first. It must return when there is no more to read.
func (f *FEC) Answer(a Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = a
}

// Commands are those that have come over ssh, in order.
func (f *FEC) Commands() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// fails says whether the init scripts of what is installed fail: of each release of this FEC, which it counts, alike in every run.
func (f *FEC) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256(fmt.Appendf(nil, "fails %d %s %d", f.crowd.settings.Seed, f.Name, f.installs))
	return f.broken || float64(binary.BigEndian.Uint64(sum[:])>>11)/(1<<53) < f.crowd.settings.Failing
}
