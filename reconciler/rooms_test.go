package reconciler_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pomona-gitops/pomona/"

// rooms says which rooms each room of the reconciler may import.
var rooms = map[string][]string{
	// ground
	"artifact": {},
	"durable":  {},
	"store":    {"artifact", "durable"},
	"memo":     {},
	"ledger":   {},
	"remote":   {"artifact"},
	"repo":     {"artifact", "durable", "remote"},
	"forge":    {"remote"},
	"engine":   {"durable"},
	"rpm":      {"artifact"},
	// known: each imports those before it
	"desired":  {"artifact"},
	"tree":     {"artifact", "desired"},
	"observed": {"artifact", "desired", "tree"},
	"plan":     {"artifact", "desired", "tree", "observed"},
	"report":   {"artifact", "desired", "tree", "observed", "plan"},
	// done: known and ground, never each other
	"fetch":     {"artifact", "durable", "store", "repo", "remote", "desired"},
	"load":      {"artifact", "memo", "desired", "load/eval", "load/wire", "schema"},
	"load/eval": {"artifact", "desired", "load/wire", "schema"},
	"load/wire": {"artifact", "desired"},
	"build":     {"artifact", "memo", "rpm", "desired"},
	"observe":   {"artifact", "durable", "store", "ledger", "desired", "tree", "observed"},
	"render":    {"artifact", "durable", "store", "tree"},
	"publish":   {"artifact", "durable", "tree", "observed", "plan"},
	"repair":    {"artifact", "durable", "tree", "observed", "plan"},
	"prune":     {"artifact", "durable", "store", "tree", "observed", "plan"},
	"announce":  {"durable", "desired", "observed", "report"},
	"propose":   {"desired"},
	"boot":      {"artifact", "tree"},
	"collect":   {"artifact", "durable", "remote", "desired", "tree"},
	"restart":   {"remote", "desired", "observed"},
	"serve":     {"artifact", "durable", "store", "tree", "observed", "plan", "report"},
	"submit":    {"durable", "engine", "desired", "observed"},
	// many FECs in one process, for demos and tests
	"boot/crowd": {"artifact", "tree"},
	// the verifier is a program of its own, for machines without Pomona
	"boot/verify": {},
	// forges, databases, ssh servers and batch systems to test against
	"forge/forgetest":   {},
	"remote/sshtest":    {"e2e/address"},
	"ledger/ledgertest": {"e2e/address"},
	"engine/enginetest": {"engine"},
	"engine/slurmtest":  {},
	// a browser that looks at pages
	"serve/browsertest": {},
}

// owners says which room each outside library belongs to. The corridor itself may start goroutines.
var owners = map[string][]string{
	"cuelang.org/go":                 {"load", "load/eval", "propose"},
	"github.com/go-git/":             {"repo"},
	"github.com/ProtonMail/":         {"repo", "rpm"},
	"github.com/google/go-github/":   {"forge"},
	"github.com/CycloneDX/":          {"build"},
	"golang.org/x/crypto/":           {"repo", "remote", "remote/sshtest", "boot/crowd"},
	"oras.land/oras-go/":             {"remote"},
	"github.com/opencontainers/":     {"remote"},
	"github.com/chromedp/":           {"serve/browsertest"},
	"github.com/klauspost/":          {"build", "collect", "rpm", "serve"},
	"github.com/ulikunitz/xz":        {"build"},
	"github.com/Masterminds/semver/": {"desired"},
	"github.com/adhocore/gronx":      {"desired"},
	"github.com/owenrumney/go-sarif": {"announce"},
	"github.com/getkin/":             {"forge/forgetest"},
	"gopkg.in/ini.v1":                {"propose"},
	"golang.org/x/sync/":             {"", "build", "load", "boot", "boot/crowd", "observe", "repo", "serve"},
	"github.com/fsnotify/fsnotify":   {"repo"},
	"github.com/cenkalti/backoff/":   {"", "announce"},
	"github.com/prometheus/":         {"announce"},
	"github.com/wneessen/go-mail":    {"announce"},
	"github.com/go-ldap/":            {"observe"},
	"github.com/go-asn1-ber/":        {"observe"},
	"modernc.org/sqlite":             {"ledger"},
	"github.com/pressly/goose/":      {"ledger"},
	"github.com/jackc/pgx/":          {"ledger"},
	"golang.org/x/time/":             {"", "observe"},
	"golang.org/x/sys/":              {"durable", "engine", "repo", "load", "load/eval", "boot", "serve", "publish"},
}

// impure is what the known rooms, and the ground that names bytes, never import.
var impure = []string{"os", "net", "os/exec", "net/http", "syscall", "log/slog"}

var pure = []string{"artifact", "desired", "tree", "observed", "plan", "report"}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	seen := map[string]bool{}
	for room, imports := range importsOf(t) {
		seen[room] = true
		allowed, known := rooms[room]
		if !known && room != "" {
			t.Errorf("room %q is not in the plan of the house", room)
		}
		for _, imported := range imports {
			checkImport(t, room, imported, allowed)
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("room %q is in the plan of the house but not there", room)
		}
	}
}

func checkImport(t *testing.T, room, imported string, allowed []string) {
	t.Helper()
	if own, ok := strings.CutPrefix(imported, module); ok {
		own = strings.TrimPrefix(own, "reconciler/")
		if room != "" && !slices.Contains(allowed, own) {
			t.Errorf("room %q imports %q", room, own)
		}
		return
	}
	if slices.Contains(pure, room) && slices.Contains(impure, imported) {
		t.Errorf("room %q imports %q, but holds values only", room, imported)
	}
	if !strings.Contains(imported, ".") {
		return // the standard library
	}
	for library, owner := range owners {
		if strings.HasPrefix(imported, library) {
			if !slices.Contains(owner, room) {
				t.Errorf("room %q imports %q, which belongs to %q", room, imported, owner)
			}
			return
		}
	}
	t.Errorf("room %q imports %q, which belongs to no room", room, imported)
}

// importsOf are the imports of every room's code without tests, by the room's folder.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string]map[string]bool{}
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && e.Name() == "testdata" {
			return fs.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room := strings.TrimPrefix(path.Dir(file), ".")
		if found[room] == nil {
			found[room] = map[string]bool{}
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[room][name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for room, names := range found {
		out[room] = slices.Sorted(maps.Keys(names))
	}
	return out
}
