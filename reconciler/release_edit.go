package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/propose"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// edit is a release on its way into the files of a commit.
type edit struct {
	siteEdit
	rel     Release
	payload desired.Payload
	today   string

	inStore bool     // the site names the payload in the blob store
	moved   []string // FECs
	onDev   []string // FECs of groups that stay on dev
}

func newEdit(src artifact.Source, loaded *load.Loaded, rel Release, p desired.Payload, now time.Time) *edit {
	return &edit{
		siteEdit: newSiteEdit(src, loaded), rel: rel, payload: p, today: now.Format(time.DateOnly), moved: []string{}, inStore: true,
	}
}

// make edits the FECs, which are found by lines of the commit, and then the software, which is found by name.
func (e *edit) make(ctx context.Context) error {
	fecs, err := e.pinned()
	if err != nil {
		return err
	}
	if err := e.pin(ctx, fecs); err != nil {
		return err
	}
	return e.version(ctx)
}

func (e *edit) versionPath() []string {
	return []string{"software", e.rel.Name, "versions", e.rel.Version}
}

func (e *edit) payloadPath() string {
	return desired.CUEPath("software", e.rel.Name, "versions", e.rel.Version, "payload", e.rel.Platform)
}

// version adds the version, or a payload of it, or gives the dev label another content.
func (e *edit) version(ctx context.Context) error {
	release, there := e.loaded.Site.Software[e.rel.Name].Versions[e.rel.Version]
	old, taken := release.Payload[e.rel.Platform]
	at := append(e.versionPath(), "payload", e.rel.Platform)
	switch {
	case taken:
		same, err := e.same(ctx, old)
		if err != nil || same {
			return err
		}
		if e.rel.Version != desired.Dev {
			return &TakenError{e.payloadPath()}
		}
		e.state(release)
		return e.file(ctx, e.payloadPath(), func(f propose.File) (propose.File, error) {
			return propose.Replace(f, at, propose.PayloadText(e.payload))
		})
	case there:
		e.state(release)
		return e.file(ctx, e.payloadPath(), func(f propose.File) (propose.File, error) {
			return propose.Declare(f, at, propose.PayloadText(e.payload))
		})
	}
	release = desired.Release{Notes: e.rel.Notes}
	if e.rel.Dev && e.rel.Version != desired.Dev {
		release.Channel = desired.Dev
	} else if !e.rel.Dev {
		release.Released = e.today
	}
	release = e.state(release)
	return e.file(ctx, desired.CUEPath("software", e.rel.Name, "versions", e.rel.Version), func(f propose.File) (propose.File, error) {
		return propose.Declare(f, e.versionPath(), propose.ReleaseText(release))
	})
}

// state puts a release with the new payload into what is wanted.
func (e *edit) state(r desired.Release) desired.Release {
	r.Payload = maps.Clone(r.Payload)
	if r.Payload == nil {
		r.Payload = map[string]desired.Payload{}
	}
	r.Payload[e.rel.Platform] = e.payload
	e.want.Software = maps.Clone(e.want.Software)
	sw := e.want.Software[e.rel.Name]
	sw.Versions = maps.Clone(sw.Versions)
	if sw.Versions == nil {
		sw.Versions = map[string]desired.Release{}
	}
	sw.Versions[e.rel.Version] = r
	e.want.Software[e.rel.Name] = sw
	return r
}

// same says whether a payload that is there has the content of the new one. One in the repository itself is packed to see.
func (e *edit) same(ctx context.Context, old desired.Payload) (bool, error) {
	if old.Install != e.payload.Install {
		return false, nil
	}
	digest := cmp.Or(old.Blob.SHA256, old.HTTPS.SHA256)
	if old.Local() {
		spec := build.Spec{Folder: old.Folder, Archive: old.Archive, Install: old.Install, Format: e.rel.Format}
		if old.Finished() {
			spec.Format = old.FormatFor(desired.Platform{})
		}
		made, err := build.Make(ctx, e.src, spec, store.Measure{})
		if err != nil {
			return false, err
		}
		digest = made.Digest.String()
	}
	e.inStore = old.Blob != desired.Blob{}
	same := digest == e.payload.Blob.SHA256
	if !same {
		e.inStore = true
	}
	return same, nil
}

// pinned are the FECs that move, sorted.
func (e *edit) pinned() ([]string, error) {
	var problems desired.Problems
	site, found := e.loaded.Site, map[string]bool{}
	for _, name := range e.rel.Pin {
		fec, ok := site.FECs[name]
		_, has := fec.Software[e.rel.Name]
		switch {
		case !ok:
			problems = append(problems, UnknownFEC(site, name))
		case !has:
			problems = append(problems, desired.Problem{
				Path: desired.CUEPath("fecs", name, "software"), Text: fmt.Sprintf("this FEC has no %s that could be moved", e.rel.Name),
				Advice: fmt.Sprintf("write by hand: %s: version: %q", desired.CUEPath("software", e.rel.Name), e.rel.Version),
			})
		}
		found[name] = true
	}
	for _, group := range e.rel.PinGroups {
		if _, ok := site.Settings.Groups[group]; !ok {
			problems = append(problems, desired.Problem{
				Path: desired.CUEPath("site", "groups", group), Text: "the site has no such group", Advice: didYouMean(group, site.Settings.Groups),
			})
			continue
		}
		if e.addGroup(group, found) == 0 {
			problems = append(problems, desired.Problem{Path: desired.CUEPath("site", "groups", group), Text: "no FEC of this group has " + e.rel.Name, Advice: "name another group, or FECs with --pin"})
		}
	}
	slices.Sort(e.onDev)
	if len(problems) > 0 {
		return nil, problems.Sorted()
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func didYouMean[T any](word string, known map[string]T) string {
	if near := desired.Suggest(word, slices.Sorted(maps.Keys(known))); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// addGroup adds those FECs of a group that have the software, and says how many there are. A FEC on dev stays: somebody
// works with it.
func (e *edit) addGroup(group string, found map[string]bool) (n int) {
	for name, fec := range e.loaded.Site.FECs {
		pin, has := fec.Software[e.rel.Name]
		if !has || !slices.Contains(fec.Groups, group) {
			continue
		}
		n++
		switch {
		case found[name] || pin.Version != desired.Dev || e.rel.Version == desired.Dev:
			found[name] = true
		case !slices.Contains(e.onDev, name):
			e.onDev = append(e.onDev, name)
		}
	}
	return n
}

// pin gives FECs the version, wherever theirs is written down.
func (e *edit) pin(ctx context.Context, fecs []string) error {
	var moving desired.Problems // with their paths
	for _, name := range fecs {
		if e.loaded.Site.FECs[name].Software[e.rel.Name].Version != e.rel.Version {
			moving = append(moving, desired.Problem{Path: desired.CUEPath("fecs", name, "software", e.rel.Name, "version")})
			e.moved = append(e.moved, name)
		}
	}
	if len(moving) == 0 {
		return nil
	}
	stated, err := e.loaded.Stated(ctx, moving)
	if err != nil {
		return fmt.Errorf("locate versions: %w", err)
	}
	located, err := e.loaded.Locate(ctx, moving)
	if err != nil {
		return fmt.Errorf("locate versions: %w", err)
	}
	e.want.FECs = maps.Clone(e.want.FECs)
	for _, name := range e.moved {
		e.wantPin(name)
	}
	for i := range stated {
		if stated[i].File == "" {
			stated[i] = located[i]
		}
	}
	return e.pinAt(ctx, stated)
}

// pinAt gives FECs the version where theirs is written down: at, in the order of e.moved. A default stays, because others use
// it, and the FEC gets a field of its own.
func (e *edit) pinAt(ctx context.Context, at desired.Problems) error {
	var own []int
	spots := map[desired.Problem]int{} // to one of the FECs that get their version there
	for i, p := range at {
		isDefault := false
		err := e.change(p.File, func(f propose.File) (propose.File, error) {
			isDefault = propose.IsDefault(f, p.Line, p.Column, e.before(i))
			return f, nil
		})
		switch {
		case err != nil:
			return err
		case isDefault:
			own = append(own, i)
		default:
			spots[desired.Problem{File: p.File, Line: p.Line, Column: p.Column}] = i
		}
	}
	// From the end of each file, so that no place moves before it is used.
	order := slices.SortedFunc(maps.Keys(spots), func(a, b desired.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(b.Line, a.Line), cmp.Compare(b.Column, a.Column))
	})
	for _, p := range order {
		i := spots[p]
		err := e.change(p.File, func(f propose.File) (propose.File, error) {
			return propose.Restate(f, p.Line, p.Column, at[i].Path, e.before(i), e.rel.Version)
		})
		if err != nil {
			return err
		}
	}
	for _, i := range own {
		path := []string{"fecs", e.moved[i], "software", e.rel.Name, "version"}
		err := e.file(ctx, desired.CUEPath("fecs", e.moved[i]), func(f propose.File) (propose.File, error) {
			return propose.Declare(f, path, propose.Text(e.rel.Version))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// before is what the i-th moved FEC runs before.
func (e *edit) before(i int) string {
	return e.loaded.Site.FECs[e.moved[i]].Software[e.rel.Name].Version
}

func (e *edit) wantPin(name string) {
	fec := e.want.FECs[name]
	fec.Software = maps.Clone(fec.Software)
	pin := fec.Software[e.rel.Name]
	pin.Version = e.rel.Version
	fec.Software[e.rel.Name] = pin
	e.want.FECs[name] = fec
}

// compare says what the edited files say besides what is wanted: a template may use a version, or a place be used by many.
func (e *edit) compare(got desired.Site) desired.Problems {
	more := e.beyond(got)
	if len(more) == 0 {
		return nil
	}
	path, write := e.payloadPath(), propose.ReleaseText(e.want.Software[e.rel.Name].Versions[e.rel.Version])
	if len(e.moved) > 0 {
		path, write = desired.CUEPath("fecs", e.moved[0], "software", e.rel.Name, "version"), fmt.Sprintf("%q for %s alone", e.rel.Version, desired.Few(e.moved))
	}
	files := slices.Sorted(maps.Keys(e.content))
	return propose.ByHand(files[0], 0, 0, path, "editing this would also change "+desired.Few(more), write)
}

// message is the commit's, as a title and a text.
func (e *edit) message(done *Released) (title, body string) {
	title = fmt.Sprintf("Release %s %s", e.rel.Name, e.rel.Version)
	if e.rel.Platform != desired.AnyPlatform {
		title += " for " + e.rel.Platform
	}
	var b strings.Builder
	if e.rel.Notes != "" {
		fmt.Fprintf(&b, "%s\n\n", e.rel.Notes)
	}
	fmt.Fprintf(&b, "Archive: sha256 %s, %d bytes\nUnpacked at: %s\n", done.Digest, done.Size, done.Install)
	if len(e.moved) > 0 {
		fmt.Fprintf(&b, "Moved to it: %s\n", strings.Join(e.moved, ", "))
	}
	return title, b.String()
}
