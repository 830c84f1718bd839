package repo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

const (
	recordName  = "mirror.json"
	bareName    = "git-"
	maxRecord   = 1 << 20 // bytes
	packFolder  = "objects/pack"
	packPrefix  = "tmp_" // of packs that are still on their way, as git has it
	privateMode = 0o600
)

// record is what a mirror remembers.
type record struct {
	Repository string            `json:"repository"`     // folder of the bare repository
	Accepted   map[string]string `json:"accepted"`       // commit by the branch's full name
	Lost       bool              `json:"lost,omitempty"` // a record before this one could not be read, and nothing else said what was accepted
}

// recall reads the record, makes a first repository if there is none, and removes what the record does not name.
func (m *Mirror) recall() error {
	if err := m.readRecord(); err != nil {
		return err
	}
	names, err := m.dir.Names(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if isBare(name) && name != m.record.Repository {
			if err := m.dir.Remove(name); err != nil {
				return err
			}
		}
	}
	if !m.dir.Exists(m.record.Repository) {
		m.record.Repository = bareName + "1"
		if err := m.initBare(m.record.Repository); err != nil {
			return err
		}
	}
	if err := sweepPacks(m.dir, m.record.Repository); err != nil {
		return err
	}
	m.accepted = plumbing.NewHash(m.record.Accepted[m.ref().String()])
	if err := m.writeRecord(m.record); err != nil {
		return err
	}
	m.repo = &Repo{dir: m.path(m.record.Repository), head: m.path(m.record.Repository)}
	return nil
}

// readRecord reads the record; if it is damaged, the repositories' own references say what was accepted.
func (m *Mirror) readRecord() error {
	m.record = record{Accepted: map[string]string{}}
	b, err := m.dir.Root().ReadFile(recordName)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	} else if err == nil {
		if err = m.parseRecord(b); err == nil {
			return nil
		}
		m.record.Lost, err = true, nil
	}
	if err != nil {
		return err
	}
	names, err := m.dir.Names(".")
	if err != nil {
		return err
	}
	// The newest is the one with the highest number.
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, name := range slices.Backward(names) {
		if at := m.refsOf(name); isBare(name) && len(at) > 0 {
			m.record = record{Repository: name, Accepted: at}
			break
		}
	}
	return nil
}

func (m *Mirror) parseRecord(b []byte) error {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return err
	}
	for _, id := range r.Accepted {
		if !plumbing.IsHash(id) {
			return errors.New("malformed commit")
		}
	}
	if !isBare(r.Repository) {
		return errors.New("malformed name of the repository")
	}
	if r.Accepted == nil {
		r.Accepted = map[string]string{}
	}
	m.record = r
	return nil
}

func isBare(name string) bool {
	n, ok := strings.CutPrefix(name, bareName)
	_, err := strconv.ParseUint(n, 10, 32)
	return ok && err == nil
}

// refsOf are the references of a repository of this mirror; none if they cannot be read.
func (m *Mirror) refsOf(name string) map[string]string {
	b, err := m.dir.Root().ReadFile(name + "/packed-refs")
	if err != nil || len(b) > maxRecord {
		return nil
	}
	refs := map[string]string{}
	for line := range strings.Lines(string(b)) {
		id, ref, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && plumbing.IsHash(id) {
			refs[ref] = id
		}
	}
	if head, err := m.dir.Root().ReadFile(name + "/HEAD"); err == nil && plumbing.IsHash(strings.TrimSpace(string(head))) {
		refs["HEAD"] = strings.TrimSpace(string(head))
	}
	return refs
}

// writeRecord makes the record and, from it, the repository's references what they are to be. Each is whole or as before.
func (m *Mirror) writeRecord(r record) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := m.replace(recordName, append(b, '\n')); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	m.record = r
	refs, head := "", "ref: "+m.ref().String()
	switch id := r.Accepted[m.ref().String()]; {
	case m.o.Branch == "HEAD" && id != "":
		head = id
	case m.o.Branch == "HEAD":
		head = "ref: refs/heads/main"
	case id != "":
		refs = id + " " + m.ref().String() + "\n"
	}
	if err := m.replace(r.Repository+"/packed-refs", []byte(refs)); err != nil {
		return fmt.Errorf("write references: %w", err)
	}
	if err := m.replace(r.Repository+"/HEAD", []byte(head+"\n")); err != nil {
		return fmt.Errorf("write HEAD: %w", err)
	}
	return nil
}

// replace writes a file, unless it is like that already.
func (m *Mirror) replace(name string, content []byte) error {
	if b, err := m.dir.Root().ReadFile(name); err == nil && bytes.Equal(b, content) {
		return nil
	}
	return m.dir.Replace(name, content, privateMode)
}

// path is a name of the mirror's folder for go-git.
func (m *Mirror) path(name string) string {
	abs, err := filepath.Abs(filepath.Join(m.o.Dir, name))
	if err != nil {
		return filepath.Join(m.o.Dir, name) // only without a working directory
	}
	return abs
}

// initBare makes an empty repository.
func (m *Mirror) initBare(name string) error {
	if err := m.dir.Mkdir(name, 0o700); err != nil {
		return err
	}
	if err := initBare(m.path(name)); err != nil {
		return err
	}
	return m.dir.SyncFileSystem()
}

func initBare(dir string) error {
	s := filesystem.NewStorage(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRUDefault())
	if _, err := git.Init(s, nil); err != nil {
		return fmt.Errorf("make repository: %w", err)
	}
	return nil
}

// sweepPacks removes what a killed fetch left in a repository: packs on their way, and one of the two files of a pack.
func sweepPacks(dir *durable.Dir, name string) error {
	folder := name + "/" + packFolder
	names, err := dir.Names(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		half := strings.HasSuffix(name, ".idx") && !slices.Contains(names, strings.TrimSuffix(name, ".idx")+".pack") ||
			strings.HasSuffix(name, ".pack") && !slices.Contains(names, strings.TrimSuffix(name, ".pack")+".idx")
		if strings.HasPrefix(name, packPrefix) || half {
			if err := dir.Remove(folder + "/" + name); err != nil {
				return err
			}
		}
	}
	return nil
}

// examine reads the accepted commit, its history and its folders, and every byte of its files if they are in doubt; it notes
// when they are not all there.
func (m *Mirror) examine(ctx context.Context, bytes bool) {
	m.doubt = nil
	if m.accepted.IsZero() {
		return
	}
	m.repo.forget()
	known, err := m.wholeOf(ctx, m.repo, m.accepted)
	if err == nil && bytes {
		err = m.repo.readAll(ctx, m.accepted)
	}
	if m.known = known; notWhole(err) {
		m.doubt = err
	}
}

// Check reads every byte of the accepted commit. If it is damaged, the next update makes the mirror anew.
func (m *Mirror) Check(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.doubt == nil {
		m.examine(ctx, true)
	}
	return cmp.Or(m.doubt, ctx.Err())
}
