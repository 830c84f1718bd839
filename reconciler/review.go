package reconciler

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Reviewer looks at the open pull requests of a site, one after the other, beside the passes and never in their way. On each
// it says what the merge would do: in one comment and one check of its head. It looks again when the pull request, the branch
// or what is published has changed.
type Reviewer struct {
	idleObserver

	By        *Reconciler // of the site, with a Loader of its own, and Records that it only reads
	Site      string      // name, which tells checks of several sites in one repository apart
	Forge     forge.Forge
	Proposals *repo.Proposals
	Enter     *Records      // where checks are entered, and what people may look at
	Forks     bool          // look at what other repositories propose too
	Poll      time.Duration // how often pull requests are listed, besides being told of them
	Link      string        // address of the service, for the page of each plan; may be empty
	Pages     string        // address of the site's pages, where plans are shown instead; may be empty
	Previews  *Previews     // of what may be merged; nil: none are made
	// Count counts reviews by the state that was told, or error; nil: nobody does
	Count func(outcome string)
	// Changed is told that people may look at something else; nil: nobody is
	Changed func()

	wakes chan struct{} // at most one is waiting
	retry *backoff.ExponentialBackOff

	mu     sync.Mutex
	groups map[string]time.Time // commits of merge groups that are to be checked, and when they came
	pages  map[int]string       // the last plan of each pull request, as text

	reviewed map[int]reviewed // by pull request
	told     trouble
}

// reviewed is what a pull request was told last.
type reviewed struct {
	inputs string // from which the review was made; empty: it must be made again
	head   string
	said   [sha256.Size]byte
}

// commentRoom is what a comment holds beside what only the forge adds.
const commentRoom = plan.MaxComment - 1024

// maxPage is how much of a plan a page shows, in bytes.
const maxPage = 1 << 20

// How many holds and warnings a comment shows, and how much of each, in bytes: a proposal can bring both, and the plan itself
// must have room.
const maxNotes, maxNote = 10, 500

// maxPulls is how many open pull requests are looked at; the oldest go first.
const maxPulls = 200

// reviewTime is how long one review may take.
const reviewTime = 10 * time.Minute

// NewReviewer completes a reviewer whose exported fields are set.
func NewReviewer(v *Reviewer) *Reviewer {
	v.wakes, v.groups, v.pages, v.reviewed = make(chan struct{}, 1), map[string]time.Time{}, map[int]string{}, map[int]reviewed{}
	v.retry = backoff.NewExponentialBackOff()
	v.retry.InitialInterval, v.retry.MaxInterval = 5*time.Second, 5*time.Minute
	return v
}

// Wake has pull requests looked at soon.
func (v *Reviewer) Wake() {
	select {
	case v.wakes <- struct{}{}:
	default:
	}
}

// Group has the commit of a merge queue looked at.
func (v *Reviewer) Group(commit string) {
	v.mu.Lock()
	if len(v.groups) < maxPulls {
		v.groups[commit] = time.Now()
	}
	v.mu.Unlock()
	v.Wake()
}

// Page is the last plan of a pull request, as text.
func (v *Reviewer) Page(number int) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text, ok := v.pages[number]
	return text, ok
}

// Passed implements Observer: after a pass that published, every plan is another one.
func (v *Reviewer) Passed(done Done) {
	if done.Report.Plan.Publish != nil || done.Err != nil {
		v.Wake()
	}
}

// Run looks at pull requests until the context ends. What a forge does never ends it.
func (v *Reviewer) Run(ctx context.Context) error {
	for {
		wait := v.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		case <-v.wakes:
		}
	}
}

// round looks at everything once, and says when to look again unless somebody asks.
func (v *Reviewer) round(ctx context.Context) time.Duration {
	err := v.all(ctx)
	if ctx.Err() != nil {
		return 0
	}
	v.tell(err)
	if err == nil {
		v.retry.Reset()
		return v.Poll
	}
	v.count("error")
	wait := min(v.retry.NextBackOff(), v.Poll) // one in trouble does not keep others waiting
	if limited := (*forge.Limited)(nil); errors.As(err, &limited) {
		wait = max(wait, time.Until(limited.Until))
	}
	return wait
}

// tell logs what keeps pull requests from being looked at, once.
func (v *Reviewer) tell(err error) {
	switch news := v.told.news(err); {
	case news && err != nil:
		v.By.Log.Error("pull requests not looked at; what is published stays", "err", err)
	case news:
		v.By.Log.Info("pull requests looked at again")
	}
}

// all looks at every open pull request and merge group. One that cannot be looked at does not keep it from the others.
func (v *Reviewer) all(ctx context.Context) error {
	base, err := v.By.Repo.Resolve(v.By.Branch)
	if err != nil {
		return nil // the passes tell of it, and their end wakes
	}
	pulls, err := v.Forge.Open(ctx)
	if err != nil {
		return err
	}
	given, err := v.given(ctx, base.ID)
	if err != nil {
		return err
	}
	failed := v.close(ctx, pulls)
	v.closeShown(ctx, pulls)
	for _, pull := range pulls[:min(len(pulls), maxPulls)] {
		if err := v.pull(ctx, base.ID, given, pull); err != nil {
			failed = errors.Join(failed, fmt.Errorf("pull request %d: %w", pull.Number, err))
		}
		if stop(ctx, err) {
			return failed
		}
	}
	return errors.Join(failed, v.queued(ctx, base.ID))
}

// stop says whether there is no use in going on.
func stop(ctx context.Context, err error) bool {
	limited := (*forge.Limited)(nil)
	return ctx.Err() != nil || errors.As(err, &limited)
}

// close forgets the pull requests that are open no more, and what has expired.
func (v *Reviewer) close(ctx context.Context, open []forge.Pull) (failed error) {
	for number := range v.reviewed {
		if slices.ContainsFunc(open, func(p forge.Pull) bool { return p.Number == number }) {
			continue
		}
		failed = errors.Join(failed, v.Proposals.Forget(number))
		delete(v.reviewed, number)
		v.mu.Lock()
		delete(v.pages, number)
		v.mu.Unlock()
	}
	if v.Previews == nil {
		return failed
	}
	numbers := make([]int, len(open))
	for i, pull := range open {
		numbers[i] = pull.Number
	}
	lost, err := v.Previews.Keep(ctx, numbers)
	for _, number := range lost {
		was := v.reviewed[number]
		was.inputs = ""
		v.reviewed[number] = was
	}
	return errors.Join(failed, err)
}

// given stands for everything that reviews depend on, but for the pull request itself, and that is not the machine's.
func (v *Reviewer) given(ctx context.Context, base string) (string, error) {
	root, err := os.OpenRoot(v.By.Root)
	if err != nil {
		return "", err
	}
	defer root.Close() // only read
	g, err := observe.Current(root)
	if err != nil {
		return "", err
	}
	var held []string // which FECs stay decides about the tree, and a generation need not tell of it
	for _, h := range v.By.judge(ctx, base, g.Givens.Holds).in {
		if h.Scope != desired.SiteScope {
			held = append(held, h.ID)
		}
	}
	return fmt.Sprintf("%s %d %s %q", base, g.Number, v.By.Now().UTC().Format(time.DateOnly), held), nil
}

// pull looks at one pull request, unless nothing has changed.
func (v *Reviewer) pull(ctx context.Context, base, given string, pull forge.Pull) error {
	was, inputs := v.reviewed[pull.Number], pull.Head+" "+given
	if was.inputs == inputs {
		return nil
	}
	if pull.Fork && !v.Forks {
		err := v.Forge.Status(ctx, pull.Head, forge.Status{Context: v.name(), State: forge.Pending, Text: "not planned: it comes from another repository"})
		if err == nil {
			v.reviewed[pull.Number] = reviewed{inputs: inputs, head: pull.Head}
		}
		return err
	}
	if was.head != pull.Head {
		if err := v.Forge.Check(ctx, pull.Head, forge.Check{Name: v.name(), State: forge.Pending, Title: "being planned"}); err != nil {
			return err
		}
		was.head = pull.Head
		v.reviewed[pull.Number] = was
	}
	o, again := v.judge(ctx, pull.Number, repo.Proposal{Number: pull.Number, Head: pull.Head, Base: base, MergeRef: pull.MergeRef})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	v.mu.Lock()
	v.pages[pull.Number] = o.page
	v.mu.Unlock()
	o.seen.Title, o.seen.Author, o.seen.Address = pull.Title, pull.Author, pull.URL
	if err := v.show(ctx, o.seen); again == nil {
		again = err
	}
	if said := o.digest(); said != was.said {
		if err := v.say(ctx, pull, o); err != nil {
			return err
		}
		was.said = said
	}
	if was.inputs = inputs; again != nil {
		was.inputs = ""
	}
	v.reviewed[pull.Number] = was
	return again
}

func (v *Reviewer) count(outcome string) {
	if v.Count != nil {
		v.Count(outcome)
	}
}

func (v *Reviewer) name() string { return "pomona/" + v.Site + "/plan" }

// say tells one outcome: the comment first, so that whoever the check calls finds it.
func (v *Reviewer) say(ctx context.Context, pull forge.Pull, o outcome) error {
	if err := v.Forge.Comment(ctx, pull.Number, o.body); err != nil {
		return err
	}
	if err := v.Forge.Check(ctx, pull.Head, v.checkOf(pull.Number, o)); err != nil {
		return err
	}
	v.count(string(o.state))
	return nil
}

func (v *Reviewer) checkOf(number int, o outcome) forge.Check {
	c := forge.Check{Name: v.name(), State: o.state, Title: o.title, Summary: o.body, Link: v.pageOf(number, o.seen.Head)}
	for _, p := range o.problems {
		if p.File != "" {
			text := p.Text
			if p.Advice != "" {
				text += "; " + p.Advice
			}
			c.Annotations = append(c.Annotations, forge.Annotation{File: p.File, Line: p.Line, Column: p.Column, Title: p.Path, Text: text, Warning: p.Warning})
		}
	}
	return c
}

// pageOf is where the whole plan of a pull request can be read, or of the commit of a merge queue.
func (v *Reviewer) pageOf(number int, head string) string {
	switch {
	case v.Pages != "" && number == 0:
		return v.Pages + "/plans/" + head
	case v.Pages != "":
		return fmt.Sprintf("%s/plans/%d", v.Pages, number)
	case v.Link == "" || number == 0:
		return ""
	}
	return fmt.Sprintf("%s/-/pulls/%d", strings.TrimSuffix(v.Link, "/"), number)
}

// queued looks at the commits of merge groups. They have no comment.
func (v *Reviewer) queued(ctx context.Context, base string) (failed error) {
	v.mu.Lock()
	groups := maps.Clone(v.groups)
	v.mu.Unlock()
	for commit, came := range groups {
		o, err := v.judge(ctx, 0, repo.Proposal{Head: commit, Base: base})
		failed = errors.Join(failed, v.show(ctx, o.seen))
		if err == nil {
			err = v.Forge.Check(ctx, commit, v.checkOf(0, o))
		}
		if err == nil || time.Since(came) > time.Hour { // a queue waits that long at most
			v.mu.Lock()
			delete(v.groups, commit)
			v.mu.Unlock()
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("merge group %s: %w", commit, err))
		}
		if stop(ctx, err) {
			break
		}
	}
	return failed
}

// outcome is what is to be said of a pull request.
type outcome struct {
	state    forge.State
	title    string
	body     string // Markdown
	page     string // text, whole
	problems desired.Problems
	names    []string // of commits that are others with each move of the branch
	seen     report.Proposal
}

// digest is the same for outcomes that say the same but for the commits that they speak of: with many open pull requests, each
// merge would write all comments anew.
func (o outcome) digest() [sha256.Size]byte {
	body := o.body
	for _, name := range o.names {
		body = strings.ReplaceAll(body, name, "")
	}
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", o.state, o.title, body, o.problems))
}

// judge finds what a merge would do. Its error says that it must be tried again; the outcome counts all the same.
func (v *Reviewer) judge(ctx context.Context, number int, pr repo.Proposal) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	// Anybody may propose anything: what a proposal finds a mistake in must not end the service.
	defer func() {
		if r := recover(); r != nil {
			o, err = v.unplanned(pr, forge.Pending, notYet, nil), fmt.Errorf("review broke off: %v\n%s", r, debug.Stack())
		}
	}()
	var rep report.Report
	merged, c, err := v.Proposals.Merge(ctx, pr)
	on := *v.By
	if err == nil {
		on.Repo, on.Branch, on.Observers, on.Pulse = merged, c.ID, nil, nil
		rep, err = on.Review(ctx, pr.Base)
	}
	var problems desired.Problems
	var rebase *repo.NeedsRebase
	var refused *repo.Refused
	var other *OtherSite
	var wrong *remote.Wrong
	var away *remote.Unavailable
	switch {
	case errors.As(err, &problems):
		o := v.unplanned(pr, forge.Failure, fmt.Sprintf("the merge result has %s", tallied(problems.Blocking())), problems)
		o.seen.Commit = c.ID
		find(&o.seen, on.Repo, problems)
		return o, nil
	case errors.As(err, &rebase), errors.As(err, &refused), errors.As(err, &other), errors.As(err, &wrong):
		return v.unplanned(pr, forge.Failure, err.Error(), nil), nil
	case errors.As(err, &away):
		return v.unplanned(pr, forge.Pending, "not planned yet, tried again: "+err.Error(), nil), err
	case err != nil: // what this machine says is not for others
		return v.unplanned(pr, forge.Pending, notYet, nil), err
	}
	o, again, err := v.planned(ctx, number, pr, &on, rep)
	if err != nil {
		return v.unplanned(pr, forge.Pending, notYet, nil), err
	}
	return o, again
}

const notYet = "not planned yet, tried again: the log of the service says why"

func tallied(ps desired.Problems) string {
	if len(ps) == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", len(ps))
}

func (v *Reviewer) unplanned(pr repo.Proposal, state forge.State, why string, problems desired.Problems) outcome {
	o := outcome{state: state, title: why, problems: problems, names: []string{pr.Base[:12]}}
	foot := v.foot(pr, report.Report{}, "")
	var body bytes.Buffer
	_ = plan.Unplanned(&body, v.Site, why, problems, commentRoom-len(foot)) // a buffer takes everything
	o.body = body.String() + foot
	o.page = why + "\n"
	if len(problems) > 0 {
		o.page += problems.Error() + "\n"
	}
	o.seen = v.seen(pr, o)
	find(&o.seen, nil, problems)
	return o
}

// planned is the outcome of a plan, whose check is entered first: whoever merges at once finds it.
func (v *Reviewer) planned(ctx context.Context, number int, pr repo.Proposal, on *Reconciler, rep report.Report) (o outcome, again, err error) {
	o = outcome{state: forge.Success, title: rep.Plan.Summary(), problems: rep.Warnings, names: []string{pr.Base[:12], rep.Commit[:12]}}
	var preview *report.ProposedPreview
	if len(rep.Plan.Refused) > 0 {
		o.state, o.title = forge.Failure, rep.Plan.Refused[0].Text
	} else if checks := ChecksOf(rep); len(checks) > 0 {
		for _, c := range checks {
			if err := v.Enter.Use(ctx, func(l *ledger.Ledger) error { return l.PutCheck(ctx, c, v.By.Now()) }); err != nil {
				return o, nil, fmt.Errorf("enter check: %w", err)
			}
		}
		if v.Previews != nil && number > 0 {
			preview, again = v.preview(ctx, number, pr.Head, on)
		}
	}
	foot := v.foot(pr, rep, previewText(preview))
	var body, page bytes.Buffer
	err = errors.Join(rep.Plan.Markdown(&body, commentRoom-len(foot)), rep.Plan.Text(&page))
	o.body, o.page = body.String()+foot, cut(page.String(), maxPage)
	view := rep.Plan.View()
	o.seen = v.seen(pr, o)
	o.seen.Commit, o.seen.Plan, o.seen.Holds, o.seen.Preview = rep.Commit, &view, rep.Holds, preview
	find(&o.seen, on.Repo, rep.Warnings)
	return o, again, err
}

// preview serves the tree of a merge result, and says where, or why not. It is not what a pull request waits for; what failed
// is tried again.
func (v *Reviewer) preview(ctx context.Context, number int, head string, on *Reconciler) (p *report.ProposedPreview, again error) {
	put, err := v.Previews.Put(ctx, on, number, head)
	var none *NoPreview
	switch {
	case errors.As(err, &none):
		return &report.ProposedPreview{Number: number, None: none.Reason}, nil
	case err != nil:
		return &report.ProposedPreview{Number: number, None: "none yet: the log of the service says why"}, err
	}
	return &report.ProposedPreview{Number: number, URL: strings.TrimSuffix(v.Link, "/") + "/" + tree.PreviewPath(number) + "/", Expires: put.Expires.UTC()}, nil
}

// previewText is a preview as a comment tells of it; empty for none.
func previewText(p *report.ProposedPreview) string {
	switch {
	case p == nil:
		return ""
	case p.None != "":
		return plan.Escaped(p.None)
	}
	return fmt.Sprintf("%s until %s; a FEC that knows the key of previews boots it when it is given <code>pomona.preview=%d</code>", p.URL, p.Expires.Format(time.DateOnly), p.Number)
}

// foot says what a plan is of, what holds it, and where more is.
func (v *Reviewer) foot(pr repo.Proposal, rep report.Report, preview string) string {
	var b strings.Builder
	held := plan.SiteHolds(rep.Holds)
	for _, h := range held[:min(len(held), maxNotes)] {
		fmt.Fprintf(&b, "\nThe site is held now: %s\n", plan.Escaped(cut(h.String(), maxNote)))
	}
	for _, w := range rep.Warnings[:min(len(rep.Warnings), maxNotes)] {
		fmt.Fprintf(&b, "\nWarning: %s\n", plan.Escaped(cut(w.String(), maxNote)))
	}
	if preview != "" {
		fmt.Fprintf(&b, "\nPreview: %s\n", preview)
	}
	if link := v.pageOf(pr.Number, pr.Head); link != "" {
		fmt.Fprintf(&b, "\nEverything: %s\n", link)
	}
	fmt.Fprintf(&b, "\nMerge of <code>%.12s</code> into <code>%.12s</code>, planned by Pomona %s.\n", pr.Head, pr.Base, plan.Escaped(v.By.Version))
	return b.String()
}

// cut is the beginning of a text, and does not keep the rest in memory.
func cut(s string, most int) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), most)], ""))
}
