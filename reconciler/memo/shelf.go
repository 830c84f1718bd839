// Package memo remembers what was worked out before, by a key that names everything it was worked out from: in memory
// for the next pass, and on a shelf for the next process.
//
// A shelf is a folder of packs, files of many entries, because opening one file costs as much as reading a hundred
// entries. A pack is never changed: every save that has something new adds one. When there are too many, one save
// puts them together: an entry that was not used in the last uses of putting together stays behind. No process
// waits for another; what two of them do at once costs a repetition and never a wrong value.
//
// What is lost is worked out again. So nothing is synced, and whatever a pack holds that is not whole, each entry's
// digest tells, is not there.
package memo

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	magic  = "pomona memo 1\n"
	suffix = ".pack"
	temp   = "temp-"

	maxPacks = 16        // then they are put together
	maxBytes = 256 << 20 // likewise, unless one site alone needs more
	maxAge   = 8         // of an entry: how often packs were put together since its last use
	maxFile  = 1 << 30   // bytes of one pack; a larger one is none
	stale    = time.Hour // of a temporary file: its writer has died
)

// Shelf is a folder that remembers for later processes. The zero value remembers nothing.
type Shelf struct {
	dir, name string
}

// NewShelf is the shelf of a name in folder dir; both are made when there is something to save, but not what dir lies in.
// An empty dir means that nothing is remembered.
func NewShelf(dir, name string) Shelf { return Shelf{dir, name} }

// Entries are values by key.
type Entries map[string][]byte

// Load reads everything that is whole. What cannot be read is not there.
func (s Shelf) Load() Entries {
	root, err := s.open(false)
	if root == nil || err != nil {
		return nil
	}
	defer root.Close() // only read
	all := Entries{}
	for _, p := range readPacks(root) {
		for _, e := range p.entries {
			all[e.key] = e.value
		}
	}
	return all
}

// Save adds new entries. Used says whether an entry was of use lately, and so shall stay.
func (s Shelf) Save(fresh Entries, used func(key string) bool) error {
	if s.dir == "" || len(fresh) == 0 {
		return nil
	}
	root, err := s.open(true)
	if err == nil {
		err = errors.Join(write(root, fresh.aged()), tidy(root, used), root.Close())
	}
	if err != nil {
		return fmt.Errorf("remember in %q: %w", filepath.Join(s.dir, s.name), err)
	}
	return nil
}

// open opens the shelf's folder if nobody else may write there, since what lies there is believed. It is nil when there
// is none.
func (s Shelf) open(create bool) (*os.Root, error) {
	if s.dir == "" {
		return nil, nil
	}
	if create {
		if err := os.Mkdir(s.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	dir, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close() // only read
	if create {
		if err := dir.Mkdir(s.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	info, err := dir.Lstat(s.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm()&0o022 != 0 || !ok || int(owner.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%q is no folder that only this user may write", s.name)
	}
	return dir.OpenRoot(s.name)
}

// entry is one value as a pack holds it.
type entry struct {
	key   string
	age   uint8
	value []byte
}

func (es Entries) aged() (out []entry) {
	for _, key := range slices.Sorted(maps.Keys(es)) {
		out = append(out, entry{key: key, value: es[key]})
	}
	return out
}

// pack is one file of a shelf.
type pack struct {
	name    string
	size    int64
	entries []entry
}

// names are a shelf's packs, and what it holds besides.
func names(root *os.Root) (packs, others []string) {
	all, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, nil
	}
	for _, e := range all {
		if e.Type().IsRegular() && strings.HasSuffix(e.Name(), suffix) {
			packs = append(packs, e.Name())
		} else {
			others = append(others, e.Name())
		}
	}
	return packs, others
}

func readPacks(root *os.Root) (all []pack) {
	packs, _ := names(root)
	for _, name := range packs {
		if b, err := readRegular(root, name); err == nil {
			all = append(all, pack{name, int64(len(b)), parse(b)})
		}
	}
	return all
}

// readRegular reads a file, and never what a link names.
func readRegular(root *os.Root, name string) ([]byte, error) {
	listed, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !opened.Mode().IsRegular() || !os.SameFile(listed, opened) || opened.Size() > maxFile {
		return nil, fs.ErrInvalid
	}
	b := bytes.NewBuffer(make([]byte, 0, opened.Size()+bytes.MinRead))
	_, err = io.Copy(b, io.LimitReader(f, opened.Size()))
	return b.Bytes(), err
}

// parse reads entries to the end, or to the first that is not whole: a digest of the rest, the lengths of key and value,
// the age, key, value.
func parse(b []byte) (all []entry) {
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	const head = sha256.Size + 9
	for ok && len(rest) >= head {
		k, v := uint64(binary.BigEndian.Uint32(rest[sha256.Size:])), uint64(binary.BigEndian.Uint32(rest[sha256.Size+4:]))
		end := head + k + v
		if end > uint64(len(rest)) || sha256.Sum256(rest[sha256.Size:end]) != [sha256.Size]byte(rest) {
			break
		}
		all = append(all, entry{key: string(rest[head : head+k]), age: rest[head-1], value: rest[head+k : end : end]})
		rest = rest[end:]
	}
	return all
}

// write adds a pack.
func write(root *os.Root, entries []entry) (err error) {
	id := rand.Text()
	f, err := root.OpenFile(temp+id, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temp + id) // else the next that puts packs together does it
		}
	}()
	var b bytes.Buffer
	b.WriteString(magic)
	for _, e := range entries {
		e.append(&b)
		if b.Len() > 1<<20 {
			if _, err := b.WriteTo(f); err != nil {
				return errors.Join(err, f.Close())
			}
		}
	}
	_, err = b.WriteTo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(temp+id, id+suffix)
}

func (e entry) append(b *bytes.Buffer) {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(e.key)))
	head = append(binary.BigEndian.AppendUint32(head, uint32(len(e.value))), e.age)
	h := sha256.New()
	for _, part := range [][]byte{head, []byte(e.key), e.value} {
		h.Write(part)
	}
	for _, part := range [][]byte{h.Sum(nil), head, []byte(e.key), e.value} {
		b.Write(part)
	}
}

// tidy puts packs together when there are too many, and removes what dead processes left.
func tidy(root *os.Root, used func(key string) bool) error {
	packs, others := names(root)
	var total, largest int64
	for _, name := range packs {
		if info, err := root.Lstat(name); err == nil {
			total, largest = total+info.Size(), max(largest, info.Size())
		}
	}
	if len(packs) <= maxPacks && total <= max(maxBytes, 2*largest) {
		return nil
	}
	for _, name := range others {
		if info, err := root.Lstat(name); err == nil && strings.HasPrefix(name, temp) && time.Since(info.ModTime()) > stale {
			_ = root.Remove(name) // again next time
		}
	}
	all := readPacks(root)
	if err := write(root, survivors(all, used)); err != nil {
		return err
	}
	for _, name := range packs {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// survivors are the entries that stay when packs are put together: those in use, and of the others the youngest, up to
// half of maxBytes.
func survivors(packs []pack, used func(key string) bool) (stay []entry) {
	youngest := map[string]entry{}
	for _, p := range packs {
		for _, e := range p.entries {
			if other, ok := youngest[e.key]; !ok || e.age < other.age {
				youngest[e.key] = e
			}
		}
	}
	for _, e := range youngest {
		if e.age++; used(e.key) {
			e.age = 0
		}
		stay = append(stay, e)
	}
	slices.SortFunc(stay, func(a, b entry) int { return cmp.Or(cmp.Compare(a.age, b.age), cmp.Compare(a.key, b.key)) })
	size := 0
	for i, e := range stay {
		if size += len(e.key) + len(e.value); e.age > maxAge || e.age > 0 && size > maxBytes/2 {
			return stay[:i]
		}
	}
	return stay
}
