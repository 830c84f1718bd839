package load

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

const moduleFile = "cue.mod/module.cue"

// header is what the beginning of a CUE file says.
type header struct {
	Package string // "" without a package clause
	Imports []string
	Embeds  bool // it may embed files of its folder
	Pointer bool // it is no CUE, but where Git LFS keeps it
}

// source is one CUE file of a commit.
type source struct {
	artifact.File
	header
	content []byte // nil when the header was remembered
}

// commit is the CUE part of a commit.
type commit struct {
	src     artifact.Source
	module  string // import path of the site's root, without a version
	folders map[string][]*source
}

// scan reads the headers of all CUE files. The commit is nil when it is no CUE module.
func (m *recall) scan(src artifact.Source) (*commit, desired.Problems, error) {
	c := &commit{src: src, folders: map[string][]*source{}}
	ps, err := c.readModule()
	if err != nil || len(ps) > 0 {
		return nil, ps, err
	}
	skip := nested(src.Files())
	for _, f := range src.Files() {
		if !strings.HasSuffix(f.Path, ".cue") && f.Mode != artifact.Module || hidden(f.Path, skip) {
			continue
		}
		found, err := m.take(c, f)
		if err != nil {
			return nil, nil, err
		}
		ps = append(ps, found...)
	}
	return c, append(ps, c.misplaced()...), nil
}

// take adds one file to its folder, unless it is not what it stands for.
func (m *recall) take(c *commit, f artifact.File) (ps desired.Problems, err error) {
	if !loadable(f) {
		return desired.Problems{notFollowed(f)}, nil
	}
	s := &source{File: f}
	if f.Size > maxFile {
		ps = desired.Problems{tooLarge(f)}
	} else if err := m.readHeader(c, s); err != nil {
		return nil, err
	}
	if s.Pointer {
		return desired.Problems{{File: f.Path, Line: 1, Column: 1, Text: "the file is a Git LFS pointer, not the file itself", Advice: "add it to git itself"}}, nil
	}
	c.folders[path.Dir(f.Path)] = append(c.folders[path.Dir(f.Path)], s)
	return ps, nil
}

// notFollowed is the problem of a link in place of a CUE file, or of a submodule: what it declares would silently be
// missing. A submodule may hold something else.
func notFollowed(f artifact.File) desired.Problem {
	p := desired.Problem{File: f.Path, Line: 1, Column: 1, Text: "the file is a symbolic link, which is not followed", Advice: "commit the file itself"}
	if f.Mode == artifact.Module {
		p.Text, p.Advice, p.Warning = "a submodule is not followed: nothing in it is part of the site", "add its files to this repository", true
	}
	return p
}

func tooLarge(f artifact.File) desired.Problem {
	return desired.Problem{File: f.Path, Line: 1, Column: 1, Text: fmt.Sprintf("the file exceeds %d KiB", maxFile>>10), Advice: "split it"}
}

// misplaced finds files that are no part of the site and that nothing imports: what they declare would silently be
// missing.
func (c *commit) misplaced() (ps desired.Problems) {
	imported := map[string]bool{}
	for _, folder := range c.folders {
		for _, s := range folder {
			for _, i := range s.Imports {
				i, _, _ = strings.Cut(i, ":")
				i, _, _ = strings.Cut(i, "@")
				imported[strings.TrimPrefix(strings.TrimPrefix(i, c.module), "/")] = true
			}
		}
	}
	for dir, folder := range c.folders {
		for _, s := range folder {
			if s.Package == wire.Package || s.Size > maxFile || strings.HasSuffix(s.Path, "_tool.cue") || strings.HasSuffix(s.Path, "_test.cue") {
				continue
			}
			p := desired.Problem{File: s.Path, Line: 1, Column: 1, Text: "the file is no part of the site", Advice: `begin it with "package site", or remove it`}
			if s.Package != "" {
				p.Text = fmt.Sprintf("package %s is no part of the site, and nothing imports it", s.Package)
				p.Advice = `write "package site", or remove it`
				p.Warning = desired.Suggest(s.Package, []string{wire.Package}) == "" // perhaps a template that nothing uses yet
			}
			if s.Package == "" || !imported[dir] {
				ps = append(ps, p)
			}
		}
	}
	return ps
}

func (m *recall) readHeader(c *commit, s *source) error {
	if h, ok := m.header(s.ID); ok {
		s.header = h
		return nil
	}
	b, err := c.read(s.File)
	if err != nil {
		return err
	}
	s.content, s.header = b, parseHeader(b)
	m.keepHeader(s.ID, s.header)
	return nil
}

// parseHeader treats a file whose beginning is malformed as one of the site, whose evaluation then says what is wrong.
func parseHeader(b []byte) header {
	h := header{Embeds: bytes.Contains(b, []byte("@extern(")), Pointer: bytes.HasPrefix(b, []byte("version https://git-lfs"))}
	f, err := parser.ParseFile("", b, parser.ImportsOnly)
	if err != nil {
		h.Package = wire.Package
	}
	if f == nil {
		return h
	}
	if name := f.PackageName(); name != "" {
		h.Package = name
	} else if _, err := parser.ParseFile("", b); err != nil {
		h.Package = wire.Package // perhaps the package clause itself is misspelt
	}
	for spec := range f.ImportSpecs() {
		h.Imports = append(h.Imports, strings.Trim(spec.Path.Value, `"`))
	}
	return h
}

// forgetContent drops what evaluation no longer needs; a commit may be kept for long.
func (c *commit) forgetContent() {
	for _, folder := range c.folders {
		for _, s := range folder {
			s.content = nil
		}
	}
}

// read is the content of a file that is no larger than maxFile.
func (c *commit) read(f artifact.File) ([]byte, error) {
	r, err := c.src.Open(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("more than its %d bytes", f.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	return b, nil
}

// readModule finds the module's path. Whether the file is right in all else is seen when a unit is loaded.
func (c *commit) readModule() (desired.Problems, error) {
	p := desired.Problem{File: moduleFile, Line: 1, Column: 1, Advice: "run pomona init"}
	f, ok := c.src.Files().Find(moduleFile)
	if !ok || !loadable(f) {
		p.Text = "the file is missing: this is no site"
		return desired.Problems{p}, nil
	}
	if f.Size > maxFile {
		return desired.Problems{tooLarge(f)}, nil
	}
	b, err := c.read(f)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(moduleFile, b)
	if err != nil {
		p.Text = fmt.Sprintf("malformed module file: %v", err)
		return desired.Problems{p}, nil
	}
	if c.module = modulePath(syntax); c.module == "" {
		p.Text = "the module has no name"
		return desired.Problems{p}, nil
	}
	return nil, nil
}

func modulePath(f *ast.File) string {
	for _, d := range f.Decls {
		field, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		name, _, _ := ast.LabelName(field.Label)
		lit, ok := field.Value.(*ast.BasicLit)
		if name == "module" && ok {
			mod, _, _ := strings.Cut(strings.Trim(lit.Value, `"`), "@")
			return mod
		}
	}
	return ""
}

// loadable says whether evaluation may see a file: links and submodules do not exist for it.
func loadable(f artifact.File) bool {
	return f.Mode == artifact.Regular || f.Mode == artifact.Executable
}

// nested are the folders that are CUE modules of their own.
func nested(fs artifact.Files) (dirs []string) {
	for _, f := range fs {
		if dir, ok := strings.CutSuffix(f.Path, "/"+moduleFile); ok {
			dirs = append(dirs, dir+"/")
		}
	}
	return dirs
}

// hidden says whether stock CUE leaves a file out of ./...: in cue.mod, in another module, in testdata, or behind a dot or
// an underscore.
func hidden(p string, nested []string) bool {
	for _, dir := range nested {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	for elem := range strings.SplitSeq(p, "/") {
		if strings.HasPrefix(elem, ".") || strings.HasPrefix(elem, "_") || elem == "testdata" || elem == "cue.mod" {
			return true
		}
	}
	return false
}
