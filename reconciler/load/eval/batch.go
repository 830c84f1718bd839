package eval

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
	"github.com/pomona-gitops/pomona/schema"
)

const (
	// schemaDir is where the union file system shows the embedded schema.
	schemaDir = ".pomona/schema"
	// schemaName begins the names of the schema's files in positions.
	schemaName = "pomona:schema/"
	moduleFile = "cue.mod/module.cue"
)

// localModule makes the site's imports of the schema find schemaDir; the loader then needs no registry. A directory
// below cue.mod/pkg would not do: the loader does not find those in an fs.FS.
const localModule = `deps: "` + schema.Path + `": {v: "v1.0.0", replaceWith: "./` + schemaDir + `"}`

// batch is some loaded units with one context, which is thrown away with it: a context never frees what it built.
type batch struct {
	wire.Batch
	ctx   *cue.Context
	site  cue.Value // #Site
	units []unit
}

type unit struct {
	wire.Unit
	inst *build.Instance // nil when the loader does not find it
}

// loadBatch loads the instances of every unit. Its problems concern the whole batch.
func loadBatch(b wire.Batch) (*batch, desired.Problems) {
	byDir, ps := instances(newFiles(union(b.Files)), b.Units)
	if len(ps) > 0 {
		return nil, ps
	}
	ctx := cuecontext.New()
	out := &batch{Batch: b, ctx: ctx, site: definitionOf(ctx, "#Site")}
	for _, u := range b.Units {
		out.units = append(out.units, unit{Unit: u, inst: byDir[u.Dir]})
	}
	return out, nil
}

// instances are the loaded units by folder. One folder whose name is no import path makes the loader refuse all at once:
// then they are loaded one by one, and that folder is left out.
func instances(all *files, units []wire.Unit) (map[string]*build.Instance, desired.Problems) {
	var dirs []string
	for _, u := range units {
		dirs = append(dirs, u.Dir)
	}
	byDir := map[string]*build.Instance{}
	if loadDirs(all, byDir, dirs...) == nil {
		return byDir, nil
	}
	if err := loadDirs(all, map[string]*build.Instance{}, "."); err != nil {
		return nil, moduleProblems(err)
	}
	for _, dir := range dirs {
		_ = loadDirs(all, byDir, dir)
	}
	return byDir, nil
}

// loadDirs loads package site of some folders; an error concerns all of them.
func loadDirs(all *files, byDir map[string]*build.Instance, dirs ...string) error {
	args := make([]string, len(dirs))
	for i, dir := range dirs {
		args[i] = "./" + dir + ":" + wire.Package
	}
	for _, inst := range load.Instances(args, &load.Config{
		FS: all, Dir: "/", FromFSPath: displayName,
		Env: []string{"CUE_REGISTRY=none", "CUE_CACHE_DIR=/nonexistent", "HOME=/nonexistent"},
	}) {
		if inst.Dir == "" {
			return inst.Err
		}
		byDir[inst.Dir] = inst
	}
	return nil
}

// union is what the loader sees: the site's files, the embedded schema, and a stub for the generated root file, since
// the schema is applied through the API and applying it twice costs twice.
func union(site map[string][]byte) map[string][]byte {
	all := maps.Clone(site)
	for name, b := range schemaFiles() {
		all[path.Join(schemaDir, name)] = b
	}
	all["cue.mod/local-module.cue"] = []byte(localModule)
	if b, ok := all[schema.Root]; ok && generated(b) {
		all[schema.Root] = []byte("package " + wire.Package + "\n")
	}
	return all
}

// displayName is the name of a file in positions.
func displayName(p string) string {
	p = cmp.Or(strings.TrimPrefix(p, "/"), ".")
	if rest, ok := strings.CutPrefix(p, schemaDir+"/"); ok {
		return schemaName + rest
	}
	return p
}

// generated says whether a root file does nothing but unify the site with the schema's #Site.
func generated(src []byte) bool {
	f, err := parser.ParseFile(schema.Root, src)
	if err != nil {
		return false
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.Package, *ast.ImportDecl, *ast.CommentGroup, *ast.Attribute:
		case *ast.EmbedDecl:
			sel, ok := d.Expr.(*ast.SelectorExpr)
			if !ok {
				return false
			}
			if l, ok := sel.Sel.(*ast.Ident); !ok || l.Name != "#Site" {
				return false
			}
		default:
			return false
		}
	}
	specs := slices.Collect(f.ImportSpecs())
	return len(specs) == 1 && specs[0].Path.Value == `"`+schema.Path+`"`
}

// schemaFiles are the files of the embedded schema by name.
func schemaFiles() map[string][]byte {
	all := map[string][]byte{}
	// The file system is part of the binary: reading it cannot fail.
	_ = fs.WalkDir(schema.FS, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[p], err = schema.FS.ReadFile(p)
		}
		return err
	})
	return all
}

// definitionOf builds the schema and picks one of its definitions.
func definitionOf(ctx *cue.Context, name string) cue.Value {
	inst := build.NewContext().NewInstance("", nil)
	all := schemaFiles()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if path.Dir(name) != "." {
			continue
		}
		// A malformed schema shows in every test of this package.
		if f, err := parser.ParseFile(schemaName+name, all[name], parser.ParseComments); err == nil {
			_ = inst.AddSyntax(f)
		}
	}
	_ = inst.Complete()
	return ctx.BuildInstance(inst).LookupPath(cue.MakePath(cue.Def(name)))
}

// firstFile is the first file of a unit's own folder, by name.
func (b *batch) firstFile(i int) string {
	first := ""
	for name := range b.Files {
		if path.Dir(name) == b.Units[i].Dir && path.Ext(name) == ".cue" && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// excluded says whether a unit has no value because build tags or names exclude all of its files.
func (u unit) excluded() bool {
	var none *load.NoFilesError
	return errors.As(u.inst.Err, &none)
}
