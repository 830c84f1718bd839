package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// Release is one version of a software as a build has left it, and who moves to it.
type Release struct {
	Name, Version string
	Folder        string          // packed as it is
	Platform      string          // key of the payload; empty: the one that there is
	Install       string          // where it is unpacked; empty: like the version before
	Format        artifact.Format // empty: gzip
	Dev           bool            // a development release; the version dev may be given other content
	Notes         string
	Pin           []string // FECs
	PinGroups     []string // FECs of these groups that have the software already, and are not on dev
}

// Releaser puts releases into a site.
type Releaser struct {
	Author
	Payloads *fetch.Fetcher // packs into its cache
}

// Released says what a release did.
type Released struct {
	Name      string          `json:"name"`
	Version   string          `json:"version"`
	Platform  string          `json:"platform"`
	Digest    artifact.Digest `json:"sha256"`
	Size      int64           `json:"size"` // bytes
	SBOM      artifact.Digest `json:"sbom"`
	Install   string          `json:"install"`
	Files     []string        `json:"files"` // that were edited
	Moved     []string        `json:"moved"` // FECs
	OnDev     []string        `json:"onDev,omitempty"`
	Commit    string          `json:"commit,omitempty"` // empty: the branch had been pushed before
	Branch    string          `json:"branch,omitempty"`
	Change    string          `json:"change,omitempty"` // address of a pull request
	Unchanged bool            `json:"unchanged"`
	// Warnings are those of the site after the release.
	Warnings desired.Problems `json:"warnings,omitempty"`
}

// TakenError says that a version is there already with other content.
type TakenError struct{ Path string }

// Error says what to do.
func (e *TakenError) Error() string {
	return fmt.Sprintf("%s is there already with other content; a released version never changes: give this one a new version", e.Path)
}

// Release packs a build folder, brings the archive and its bill of materials to the blob store and makes one commit, in which
// the site is valid, has the version and nothing else that is new but the FECs that move to it.
func (r *Releaser) Release(ctx context.Context, rel Release) (Released, error) {
	return whileMoving(&r.Author, func() (Released, error) { return r.once(ctx, rel) })
}

func (r *Releaser) once(ctx context.Context, rel Release) (Released, error) {
	t, err := r.target(ctx)
	if err != nil {
		return Released{}, err
	}
	defer t.close()
	loaded, problems, err := check(ctx, t.files, r.Loader, r.Verdicts, r.Now())
	if err != nil {
		return Released{}, err
	}
	if blocking := problems.Blocking(); len(blocking) > 0 {
		return Released{}, problems
	}
	if rel, err = rel.complete(loaded.Site); err != nil {
		return Released{}, err
	}
	p, err := r.pack(ctx, rel)
	if err != nil {
		return Released{}, err
	}
	done := Released{
		Name: rel.Name, Version: rel.Version, Platform: rel.Platform, Install: rel.Install,
		Digest: p.archive.Digest, Size: p.archive.Size, SBOM: p.bill.Digest, Branch: t.branch, Files: []string{}, Moved: []string{},
	}
	e := newEdit(t.files, loaded, rel, p.payload, r.Now())
	if err := e.make(ctx); err != nil {
		return done, err
	}
	done.Moved, done.OnDev = e.moved, e.onDev
	if len(e.content) == 0 {
		done.Unchanged, done.Commit = true, t.commit.ID
		return done, r.upload(ctx, p.blobs(e.inStore)...)
	}
	if done.Warnings, err = r.prove(ctx, t, e); err != nil {
		return done, err
	}
	if err := r.upload(ctx, p.blobs(e.inStore)...); err != nil {
		return done, err
	}
	done.Files = slices.Sorted(maps.Keys(e.content))
	title, body := e.message(&done)
	made, err := r.commit(ctx, t, e.content, title, body, fmt.Sprintf("release/%s-%s", rel.Name, rel.Version))
	done.Commit, done.Branch, done.Change = made.Commit, made.Branch, made.Change
	return done, err
}

// prove validates the site as it would be, and sees that nothing has changed but what was asked for.
func (r *Releaser) prove(ctx context.Context, t *target, e *edit) (desired.Problems, error) {
	src := t.files.With(e.content)
	after, problems, err := check(ctx, src, r.Loader, r.Verdicts, r.Now())
	if err != nil {
		return nil, err
	}
	if len(problems.Blocking()) > 0 {
		return nil, problems
	}
	if problem := e.compare(after.Site); len(problem) > 0 {
		return nil, problem
	}
	b := newBringer(r.Payloads, map[string]bool{e.payloadPath(): e.inStore})
	more, err := build.CheckElsewhere(ctx, after.Site, b.bring)
	if err == nil {
		err = b.err()
	}
	if err != nil {
		return nil, fmt.Errorf("check payload: %w", err)
	}
	if more, err = after.Locate(ctx, more); err != nil {
		return nil, fmt.Errorf("locate problems: %w", err)
	}
	problems = append(problems, more...).Sorted()
	if len(problems.Blocking()) > 0 {
		return nil, problems
	}
	return problems, nil
}

// packed is a release as files in the cache.
type packed struct {
	payload       desired.Payload
	archive, bill remote.Blob
}

// blobs are the files that the blob store must have before a commit names them.
func (p packed) blobs(inStore bool) []remote.Blob {
	if !inStore {
		return nil
	}
	return []remote.Blob{p.archive, p.bill}
}

// packFolder makes the archive of a build folder.
func (r *Releaser) packFolder(ctx context.Context, rel Release) (artifact.Artifact, error) {
	folder, err := openBuildFolder(rel.Folder)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer folder.close()
	made, err := build.Make(ctx, folder, build.Spec{Folder: ".", Install: rel.Install, Format: rel.Format}, r.Payloads)
	if err != nil {
		return artifact.Artifact{}, rel.linted(err)
	}
	return made, nil
}

// pack makes the archive, and then the bill of materials that will be published with it.
func (r *Releaser) pack(ctx context.Context, rel Release) (packed, error) {
	made, err := r.packFolder(ctx, rel)
	if err != nil {
		return packed{}, err
	}
	p := packed{archive: r.blob(made.Digest, made.Size), payload: desired.Payload{Blob: desired.Blob{SHA256: made.Digest.String()}, Install: rel.Install}}
	if rel.Format != artifact.Gzip {
		p.payload.Format = rel.Format
	}
	src, local, err := r.Payloads.Payload(ctx, p.payload)
	if err != nil {
		return packed{}, err
	}
	about := build.About{Type: build.Application, Name: rel.Name, Version: rel.Version, Source: p.payload}
	billed, err := build.Make(ctx, src, build.Spec{Archive: local.Archive, Install: rel.Install, Format: rel.Format, About: about}, r.Payloads)
	if err != nil {
		return packed{}, rel.linted(err)
	}
	p.bill = r.blob(billed.SBOM, billed.Bill)
	return p, nil
}

// linted makes problems of what a FEC must not unpack, in the words of the build folder.
func (rel Release) linted(err error) error {
	var found *build.LintError
	if errors.As(err, &found) {
		return found.Findings.Problems(rel.Folder)
	}
	return fmt.Errorf("pack build folder %q: %w", rel.Folder, err)
}

func (r *Releaser) blob(d artifact.Digest, size int64) remote.Blob {
	return remote.Blob{Digest: d, Size: size, Open: func() (io.ReadCloser, error) { return r.Payloads.Open(d) }}
}

// complete fills in what can be told from the versions that there are.
func (rel Release) complete(site desired.Site) (Release, error) {
	sw, ok := site.Software[rel.Name]
	if !ok {
		return rel, rel.unknown(site)
	}
	if _, err := desired.ParseVersion(rel.Version); err != nil {
		return rel, err
	}
	if rel.Version == desired.Dev && !rel.Dev {
		return rel, errors.New("the version dev is a development release: say so with --dev")
	}
	if info, err := os.Stat(rel.Folder); err != nil {
		return rel, fmt.Errorf("open build folder: %w", err)
	} else if !info.IsDir() {
		return rel, fmt.Errorf("open build folder %q: %w", rel.Folder, fs.ErrInvalid)
	}
	if rel.Format == "" {
		rel.Format = artifact.Gzip
	}
	before := descending(sw)
	if rel.Platform == "" {
		keys := map[string]bool{}
		for _, v := range before {
			maps.Insert(keys, maps.All(present(sw.Versions[v].Payload)))
		}
		switch names := slices.Sorted(maps.Keys(keys)); len(names) {
		case 0:
			rel.Platform = desired.AnyPlatform
		case 1:
			rel.Platform = names[0]
		default:
			return rel, fmt.Errorf("%s has a payload for each platform: give --platform, one of %s", rel.Name, strings.Join(names, ", "))
		}
	}
	for _, v := range before {
		if p, ok := sw.Versions[v].Payload[rel.Platform]; ok && rel.Install == "" {
			rel.Install = moveInstall(p.Install, v, rel.Version)
		}
	}
	if rel.Install == "" {
		return rel, fmt.Errorf("nothing says where %s is unpacked on %s: give --install", rel.Name, rel.Platform)
	}
	return rel, nil
}

func (rel Release) unknown(site desired.Site) error {
	p := desired.Problem{
		Path: desired.CUEPath("software", rel.Name), Text: "the site has no such software",
		Advice: "write by hand: " + desired.CUEPath("software", rel.Name) + `: {description: "…", responsible: "…", versions: {}}`,
	}
	if near := didYouMean(rel.Name, site.Software); near != "" {
		p.Advice = near
	}
	return desired.Problems{p}
}

// descending are the versions of a software, the newest first and dev last.
func descending(sw desired.Software) []string {
	return slices.SortedFunc(maps.Keys(sw.Versions), func(a, b string) int {
		va, _ := desired.ParseVersion(a) // the site is valid
		vb, _ := desired.ParseVersion(b)
		return vb.Compare(va)
	})
}

func present[T any](m map[string]T) map[string]bool {
	out := map[string]bool{}
	for name := range m {
		out[name] = true
	}
	return out
}

// moveInstall is an install path with another version in it, where it has one.
func moveInstall(path, from, to string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if part == from || from != desired.Dev && strings.Contains(part, from) {
			parts[i] = strings.ReplaceAll(part, from, to)
		}
	}
	return strings.Join(parts, "/")
}
