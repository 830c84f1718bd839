package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/propose"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Evidence is what somebody has found out about a prerequisite. Its subject is what is rendered of that now.
type Evidence struct {
	Prerequisite string
	Record       desired.PrerequisiteRecord
	// Of is the digest that it is about; empty: what is rendered now. Evidence about something else is refused: it would be void.
	Of string
}

// PrerequisiteAuthor writes evidence into a site: each record a file of its own beside the prerequisite.
type PrerequisiteAuthor struct {
	Author
	By  string
	Dry bool // only shows what would be written
}

// Recorded says what became of evidence.
type Recorded struct {
	Records  []RecordedOne    `json:"records"`
	Commit   string           `json:"commit,omitempty"`
	Branch   string           `json:"branch,omitempty"`
	Change   string           `json:"change,omitempty"` // address of a pull request
	Warnings desired.Problems `json:"warnings,omitempty"`
}

// RecordedOne is one of its records.
type RecordedOne struct {
	Prerequisite string                     `json:"prerequisite"`
	Name         string                     `json:"name"`
	File         string                     `json:"file"`
	Record       desired.PrerequisiteRecord `json:"record"`
}

// Record writes evidence in one commit, in which the site is valid and says nothing else that is new.
func (a *PrerequisiteAuthor) Record(ctx context.Context, title string, evidence []Evidence) (Recorded, error) {
	return whileMoving(&a.Author, func() (Recorded, error) { return a.record(ctx, title, evidence) })
}

func (a *PrerequisiteAuthor) record(ctx context.Context, title string, evidence []Evidence) (Recorded, error) {
	done := Recorded{Records: []RecordedOne{}}
	t, err := a.target(ctx)
	if err != nil {
		return done, err
	}
	defer t.close()
	loaded, problems, err := check(ctx, t.files, a.Loader, a.Verdicts, a.Now())
	if err != nil {
		return done, err
	}
	if blocking := problems.Blocking(); len(blocking) > 0 {
		return done, problems
	}
	want, content := loaded.Site, map[string][]byte{}
	want.Prerequisites = maps.Clone(want.Prerequisites)
	for _, e := range evidence {
		one, file, err := a.one(ctx, t, loaded, want, e)
		if err != nil {
			return done, err
		}
		content[file.Path] = file.Content
		done.Records = append(done.Records, one)
		p := want.Prerequisites[e.Prerequisite]
		p.Records = maps.Clone(p.Records)
		if p.Records == nil {
			p.Records = map[string]desired.PrerequisiteRecord{}
		}
		p.Records[one.Name] = one.Record
		want.Prerequisites[e.Prerequisite] = p
	}
	after, problems, err := check(ctx, t.files.With(content), a.Loader, a.Verdicts, a.Now())
	if err != nil {
		return done, err
	}
	if len(problems.Blocking()) > 0 {
		return done, problems
	}
	if !reflect.DeepEqual(after.Site, want) {
		return done, fmt.Errorf("the site would say something else than %s: write it by hand", slices.Sorted(maps.Keys(content))[0])
	}
	done.Warnings = slices.DeleteFunc(problems, func(p desired.Problem) bool { return !done.about(p) })
	if a.Dry {
		return done, nil
	}
	made, err := a.commit(ctx, t, content, title, a.body(done), "prerequisites/"+done.Records[0].Name)
	done.Commit, done.Branch, done.Change = made.Commit, made.Branch, made.Change
	return done, err
}

// about says whether a problem is one of what was recorded, or of what that is about.
func (d Recorded) about(p desired.Problem) bool {
	return slices.ContainsFunc(d.Records, func(one RecordedOne) bool {
		rest, ok := strings.CutPrefix(p.Path, desired.CUEPath(prerequisiteSection, one.Prerequisite))
		return ok && (rest == "" || rest[0] == '.')
	})
}

// Seen is the site as the branch has it that gets evidence.
func (a *PrerequisiteAuthor) Seen(ctx context.Context) (desired.Site, error) {
	t, err := a.target(ctx)
	if err != nil {
		return desired.Site{}, err
	}
	defer t.close()
	loaded, problems, err := check(ctx, t.files, a.Loader, a.Verdicts, a.Now())
	if err != nil {
		return desired.Site{}, err
	}
	if len(problems.Blocking()) > 0 {
		return desired.Site{}, problems
	}
	return loaded.Site, nil
}

func (a *PrerequisiteAuthor) body(done Recorded) string {
	var b strings.Builder
	for _, one := range done.Records {
		fmt.Fprintf(&b, "%s of %s %s\n", one.Name, one.Prerequisite, one.Record.Subject)
	}
	return b.String()
}

// one makes the file of one record.
func (a *PrerequisiteAuthor) one(ctx context.Context, t *target, loaded *load.Loaded, site desired.Site, e Evidence) (RecordedOne, propose.File, error) {
	p, ok := site.Prerequisites[e.Prerequisite]
	if !ok {
		return RecordedOne{}, propose.File{}, unknownPrerequisite(site, e.Prerequisite)
	}
	d, err := tree.PrerequisiteDigest(site, e.Prerequisite)
	if err != nil {
		return RecordedOne{}, propose.File{}, err
	}
	now := "sha256:" + d.String()
	if e.Of != "" && e.Of != now {
		return RecordedOne{}, propose.File{}, fmt.Errorf("%s has changed meanwhile: evidence about %.19s does not count for %.19s, which is rendered now; look at it as it is, and run it again", e.Prerequisite, e.Of, now)
	}
	r := e.Record
	r.Subject = now
	if r.By == "" {
		r.By = a.By
	}
	if r.At == "" {
		r.At = a.Now().UTC().Format(time.RFC3339)
	}
	if r.By == "" {
		return RecordedOne{}, propose.File{}, fmt.Errorf("nobody knows who says it: give --by, or configure git's user.email")
	}
	if r.Kind == desired.TrialRecord {
		if err := triable(e.Prerequisite, p, r); err != nil {
			return RecordedOne{}, propose.File{}, err
		}
	}
	if err := a.mayRecord(ctx, wanted{commit: t.commit, loaded: loaded, stated: loaded.Site}, t, e.Prerequisite, r); err != nil {
		return RecordedOne{}, propose.File{}, err
	}
	at, err := loaded.Locate(ctx, desired.Problems{{Path: desired.CUEPath("prerequisites", e.Prerequisite)}})
	if err != nil {
		return RecordedOne{}, propose.File{}, fmt.Errorf("find prerequisite %s: %w", e.Prerequisite, err)
	}
	name := recordNameOf(r)
	if _, taken := p.Records[name]; taken {
		return RecordedOne{}, propose.File{}, fmt.Errorf("%s of %s is recorded already", name, e.Prerequisite)
	}
	file, err := propose.PrerequisiteRecord(path.Join(path.Dir(at[0].File), fmt.Sprintf("record_%s_%s.cue", e.Prerequisite, name)), e.Prerequisite, name, r)
	return RecordedOne{e.Prerequisite, name, file.Path, r}, file, err
}

// mayRecord says why evidence of whoever gives it would not count: a record is there for ever.
func (a *PrerequisiteAuthor) mayRecord(ctx context.Context, w wanted, t *target, name string, r desired.PrerequisiteRecord) error {
	responsible := w.stated.Prerequisites[name].Responsible
	switch own := desired.SamePerson(r.By, responsible); {
	case r.Kind == desired.RetireRecord && !own:
		return fmt.Errorf("%s does not answer for %s: %s retires it", r.By, name, responsible)
	case r.Kind == desired.ReviewRecord && own:
		return fmt.Errorf("%s answers for %s: somebody else must review it", r.By, name)
	case r.Kind != desired.ReviewRecord:
		return nil
	}
	authors, err := (&Reconciler{Repo: t.repo, Loader: a.Loader, Log: a.Log, Now: a.Now}).wrote(ctx, w, name)
	if err != nil {
		return ctx.Err() // what came from elsewhere has no history; whoever judges the record has
	}
	for _, who := range slices.Sorted(maps.Keys(authors)) {
		if desired.SamePerson(who, r.By) {
			return fmt.Errorf("%s %s: somebody else must review %s", r.By, authors[who], name)
		}
	}
	return nil
}

// triable says why a trial is of what the prerequisite has not: a record is there for ever.
func triable(name string, p desired.Prerequisite, r desired.PrerequisiteRecord) error {
	versions := p.Versions(r.System)
	if _, ok := p.Systems[r.System]; !ok {
		systems := slices.Sorted(maps.Keys(p.Systems))
		return fmt.Errorf("%s comes to no system %q: want %s", name, r.System, cmp.Or(desired.Suggest(r.System, systems), "one of "+strings.Join(systems, ", ")))
	}
	if !slices.Contains(versions, r.Version) {
		return fmt.Errorf("%s %s does not come to %s: it gets %s", name, r.Version, r.System, strings.Join(versions, ", "))
	}
	return nil
}

// recordNameOf is a name that no other record gets, also not one that somebody else writes at the same time.
func recordNameOf(r desired.PrerequisiteRecord) string {
	words := []string{r.Kind}
	if r.System != "" {
		words = append(words, strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
				return c
			}
			return -1
		}, r.System))
	}
	b, _ := json.Marshal(r) // it has no value that JSON lacks
	words = append(words, strings.ReplaceAll(r.At[:min(len(r.At), len(time.DateOnly))], "-", ""), artifact.Sum(b).String()[:8])
	return strings.Join(words, "-")
}
