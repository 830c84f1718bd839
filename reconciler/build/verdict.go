package build

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/memo"
)

// Verdicts remember what Check found in payloads and scripts, by everything that it depends on, so that what has not
// changed is not read again. They are safe for concurrent use.
type Verdicts struct {
	log     *slog.Logger
	shelf   memo.Shelf
	version string
	passes  atomic.Int64
	recent  memo.Recent[Findings]
}

// NewVerdicts remember for later processes in folder cache; "" is none.
func NewVerdicts(cache string, log *slog.Logger) *Verdicts {
	v := &Verdicts{log: log}
	if version, err := memo.Programs(); err == nil && cache != "" {
		v.shelf, v.version = memo.NewShelf(cache, "verdicts"), version
	}
	return v
}

// hearing is one pass of Check.
type hearing struct {
	*Verdicts
	files  artifact.Files
	pass   int64
	open   sync.Once
	stored memo.Entries

	mu     sync.Mutex
	fresh  memo.Entries
	linted int
}

// recall begins a pass; without verdicts it remembers only what it finds itself.
func (v *Verdicts) recall(files artifact.Files) *hearing {
	if v == nil {
		v = &Verdicts{}
	}
	return &hearing{Verdicts: v, files: files, pass: v.passes.Add(1), fresh: memo.Entries{}}
}

// lint is lintCase.lint from memory, else anew.
func (h *hearing) lint(ctx context.Context, src artifact.Source, c lintCase) (Findings, error) {
	key, ok := c.key(h.files)
	if !ok {
		return c.lint(ctx, src) // nothing to read
	}
	if found, ok := h.remembered(key); ok {
		return found, nil
	}
	found, err := c.lint(ctx, src)
	if err == nil {
		h.keep(key, found)
	}
	return found, err
}

func (h *hearing) remembered(key string) (Findings, bool) {
	if found, ok := h.recent.Get(key, h.pass); ok {
		return found, true
	}
	if h.pass > 1 {
		return nil, false // what other processes found since is not worth reading the shelf
	}
	h.open.Do(func() { h.stored = h.shelf.Load() })
	b, ok := h.stored[h.version+key]
	if !ok {
		return nil, false
	}
	var found Findings
	if memo.Decode(b, &found) != nil {
		return nil, false
	}
	h.recent.Put(key, found, h.pass)
	return found, true
}

func (h *hearing) keep(key string, found Findings) {
	h.recent.Put(key, found, h.pass)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.linted++
	if b, err := memo.Encode(found); err == nil {
		h.fresh[h.version+key] = b
	}
}

// done saves what is new and forgets what is old. That nothing can be saved harms only the next process.
func (h *hearing) done() {
	h.recent.Sweep(h.pass)
	err := h.shelf.Save(h.fresh, func(key string) bool {
		n := len(h.version)
		return len(key) > n && key[:n] == h.version && h.recent.Has(key[n:])
	})
	if h.log == nil {
		return
	}
	h.log.Debug("checked payloads and scripts", "read", h.linted)
	if err != nil {
		h.log.Warn("checked payloads not remembered", "err", err)
	}
}

// scripts lints the files of scripts, each once, however many FECs run it.
func (h *hearing) scripts(ctx context.Context, src artifact.Source, site desired.Site) (ps desired.Problems, err error) {
	found := map[string]Findings{}
	look := func(file string, at func() string) {
		if _, done := found[file]; !done && err == nil {
			if found[file], err = h.lint(ctx, src, lintCase{file: file}); err != nil {
				err = fmt.Errorf("check %s: %w", at(), err)
			}
		}
		if len(found[file]) > 0 {
			ps = append(ps, found[file].Problems(at())...)
		}
	}
	for name, s := range site.Settings.Scripts {
		look(s.File, func() string { return desired.CUEPath("site", "scripts", name, "file") })
	}
	for name, fec := range site.FECs {
		for script, i := range fec.Init {
			if i.File != "" {
				look(i.File, func() string { return desired.CUEPath("fecs", name, "init", script, "file") })
			}
		}
	}
	return ps, err
}

// key names everything that the findings of c depend on; false when there is nothing to read.
func (c lintCase) key(files artifact.Files) (string, bool) {
	switch {
	case c.file != "":
		f, ok := files.Find(c.file)
		return "file " + f.ID, ok && notAFile(f) == nil
	case c.payload.Archive != "":
		format, err := artifact.FormatOf(c.payload.Archive)
		_, ok := files.Find(c.payload.Archive)
		k := key(files, Spec{Archive: c.payload.Archive, Install: c.payload.Install, Format: format})
		return fmt.Sprintf("archive %s %d", k, c.memory()), ok && err == nil
	}
	k := key(files, Spec{Folder: c.payload.Folder, Install: c.payload.Install})
	return fmt.Sprintf("folder %s %q", k, c.windows()), len(files.Under(c.payload.Folder)) > 0
}
