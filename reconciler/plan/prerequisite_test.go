package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

const renderedNow = "sha256:11"

var judgedAt = time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)

func ended(exit int) *desired.JobResult { return &desired.JobResult{Exit: exit} }

func goodJobs() desired.TrialJobs {
	none := 0
	return desired.TrialJobs{Install: ended(0), Again: &desired.JobResult{Changed: &none}, Verify: ended(0), Upgrade: &desired.JobResult{From: "1"}}
}

// inProduction is a prerequisite for which all evidence is there.
func inProduction() plan.PrerequisiteFacts {
	record := func(kind string) desired.PrerequisiteRecord {
		return desired.PrerequisiteRecord{Kind: kind, Subject: renderedNow, By: "bo", At: "2026-05-01T00:00:00Z", Verdict: "pass"}
	}
	trial := func(version string) desired.PrerequisiteRecord {
		r := record("trial")
		r.Verdict, r.System, r.Version, r.Jobs = "", "debian12", version, goodJobs()
		return r
	}
	f := plan.PrerequisiteFacts{
		Name: "xml", Digest: renderedNow, PagesSame: true, Answers: "ada@example.org",
		Systems: map[string]desired.System{"debian12": {Family: desired.Debian}, "mac": {Family: desired.MacOS}},
		Spec: desired.Prerequisite{
			Responsible: "ada@example.org", Recommended: "2", Previous: "1", Supported: []string{"2", "1"}, Needs: []string{"libc"},
			Systems: map[string]desired.Provision{"debian12": {Others: map[string]desired.Source{"1": {}}}, "mac": {}},
			Records: map[string]desired.PrerequisiteRecord{"trial-1": trial("1"), "trial-2": trial("2"), "review-1": record("review"), "integration-1": record("integration"), "rollback-1": record("rollback")},
		},
		Needs: map[string]string{"libc": "production"}, Proofs: map[string]plan.RecordProof{},
	}
	for name := range f.Spec.Records {
		f.Proofs[name] = plan.RecordProof{Who: "bo@example.org"}
	}
	return f
}

func TestPrerequisiteGates(t *testing.T) {
	add := func(f *plan.PrerequisiteFacts, like, name string, change func(*desired.PrerequisiteRecord)) {
		r := f.Spec.Records[like]
		change(&r)
		f.Spec.Records[name] = r
		f.Proofs[name] = plan.RecordProof{Who: r.By}
	}
	change := func(name string, change func(*desired.PrerequisiteRecord)) func(*plan.PrerequisiteFacts) {
		return func(f *plan.PrerequisiteFacts) { add(f, name, name, change) }
	}
	unproven := func(approved ...string) func(*plan.PrerequisiteFacts) {
		return func(f *plan.PrerequisiteFacts) { f.Unproven = map[string][]string{"c1": approved} }
	}
	for _, c := range []struct {
		name   string
		change func(*plan.PrerequisiteFacts)
		state  string
		next   string // gate, verdict and why
	}{
		{"all there", func(*plan.PrerequisiteFacts) {}, "production", ""},
		{"not rendered", func(f *plan.PrerequisiteFacts) { f.Unfit = "empty" }, "proposed", "rendered: fail: empty"},
		{"rendered anew", func(f *plan.PrerequisiteFacts) { f.Digest = "sha256:22" }, "rendered", "trial of 2 on debian12: pending: "},
		{"a version not tried", func(f *plan.PrerequisiteFacts) { delete(f.Spec.Records, "trial-1") }, "rendered", "trial of 1 on debian12: pending: "},
		{"install failed", change("trial-2", func(r *desired.PrerequisiteRecord) { r.Jobs.Install = ended(100) }), "rendered", "trial of 2 on debian12: fail: job install ended with 100"},
		{"probes failed", change("trial-2", func(r *desired.PrerequisiteRecord) { r.Jobs.Verify = ended(1) }), "rendered", "trial of 2 on debian12: fail: job verify ended with 1"},
		{"second run changes", change("trial-2", func(r *desired.PrerequisiteRecord) { one := 1; r.Jobs.Again = &desired.JobResult{Changed: &one} }),
			"rendered", "trial of 2 on debian12: fail: installing once more changed 1 things"},
		{"second run does not say", change("trial-2", func(r *desired.PrerequisiteRecord) { r.Jobs.Again = ended(0) }),
			"rendered", "trial of 2 on debian12: inconclusive: job again does not say what it changed"},
		{"a job not run", change("trial-2", func(r *desired.PrerequisiteRecord) { r.Jobs.Verify = nil }), "rendered", "trial of 2 on debian12: pending: job verify was not run"},
		{"upgrade not tried", change("trial-2", func(r *desired.PrerequisiteRecord) { r.Jobs.Upgrade = nil }), "rendered", "trial of 2 on debian12: pending: job upgrade was not run"},
		{"upgrade from another", change("trial-2", func(r *desired.PrerequisiteRecord) { r.Jobs.Upgrade = &desired.JobResult{From: "0"} }),
			"rendered", "trial of 2 on debian12: pending: the upgrade from 1 was not tried"},
		{"upgrade of another version needs none", change("trial-1", func(r *desired.PrerequisiteRecord) { r.Jobs.Upgrade = nil }), "production", ""},
		{"inconclusive and exit 0", change("trial-2", func(r *desired.PrerequisiteRecord) { r.Jobs.Install = &desired.JobResult{Inconclusive: "mirror away"} }),
			"rendered", "trial of 2 on debian12: inconclusive: job install: mirror away"},
		{"a later trial fails", func(f *plan.PrerequisiteFacts) {
			add(f, "trial-2", "trial-3", func(r *desired.PrerequisiteRecord) { r.At, r.Jobs.Verify = "2026-05-02T00:00:00Z", ended(1) })
		}, "rendered", "trial of 2 on debian12: fail: job verify ended with 1"},
		{"an earlier trial failed", func(f *plan.PrerequisiteFacts) {
			add(f, "trial-2", "trial-3", func(r *desired.PrerequisiteRecord) { r.At, r.Jobs.Verify = "2026-04-02T00:00:00Z", ended(1) })
		}, "production", ""},
		{"nobody knows who tried", func(f *plan.PrerequisiteFacts) { f.Proofs["trial-2"] = plan.RecordProof{Doubt: "not signed"} }, "rendered", "trial of 2 on debian12: needs_approval: not signed"},
		{"nobody has looked", func(f *plan.PrerequisiteFacts) { delete(f.Proofs, "trial-2") }, "rendered", "trial of 2 on debian12: needs_approval: nobody has looked who wrote it"},
		{"reviewed by whoever answers", change("review-1", func(r *desired.PrerequisiteRecord) { r.By = "ada" }), "tested", "review: blocked: ada answers for it: somebody else must review it"},
		{"reviewed by an author", func(f *plan.PrerequisiteFacts) {
			f.Authors = map[string]string{"ada": "wrote it", "Bo <bo@example.org>": "wrote it, as commit 0123 says"}
		}, "tested", "review: blocked: bo wrote it, as commit 0123 says: somebody else must review it"},
		{"nobody knows who wrote it", func(f *plan.PrerequisiteFacts) { f.Unsure = "no such commit" }, "tested", "review: inconclusive: nobody knows who wrote it: no such commit"},
		{"nobody has signed a line", unproven(), "tested", "review: inconclusive: nobody knows who wrote it: commit c1 is not signed by anybody, and bo may have made it"},
		{"whoever reviews has approved it himself", unproven("bo@example.org"), "tested",
			"review: inconclusive: nobody knows who wrote it: commit c1 is not signed by anybody, and bo may have made it"},
		{"a third has approved it", unproven("bo@example.org", "cleo@example.org"), "production", ""},
		{"nobody has signed a line, and two have reviewed it", func(f *plan.PrerequisiteFacts) {
			unproven()(f)
			add(f, "review-1", "review-2", func(r *desired.PrerequisiteRecord) { r.By = "cleo" })
		}, "production", ""},
		{"the second one has objected since", func(f *plan.PrerequisiteFacts) {
			unproven()(f)
			add(f, "review-1", "review-2", func(r *desired.PrerequisiteRecord) { r.By, r.At = "cleo", "2026-04-01T00:00:00Z" })
			add(f, "review-1", "review-3", func(r *desired.PrerequisiteRecord) {
				r.By, r.At, r.Verdict, r.Reason = "cleo", "2026-04-02T00:00:00Z", "fail", "no"
			})
		}, "tested", "review: inconclusive: nobody knows who wrote it: commit c1 is not signed by anybody, and bo may have made it"},
		{"the second one is the first", func(f *plan.PrerequisiteFacts) {
			unproven()(f)
			add(f, "review-1", "review-2", func(r *desired.PrerequisiteRecord) { r.At = "2026-05-02T00:00:00Z" })
		}, "tested", "review: inconclusive: nobody knows who wrote it: commit c1 is not signed by anybody, and bo may have made it"},
		{"the second one answers for it", func(f *plan.PrerequisiteFacts) {
			unproven()(f)
			add(f, "review-1", "review-2", func(r *desired.PrerequisiteRecord) { r.By, r.At = "ada", "2026-04-01T00:00:00Z" })
		}, "tested", "review: inconclusive: nobody knows who wrote it: commit c1 is not signed by anybody, and bo may have made it"},
		{"reviewed by whoever answered, and is not named any more", func(f *plan.PrerequisiteFacts) {
			f.Answers, f.Unagreed = "bo@example.org", "bo has not agreed"
		}, "tested", "review: blocked: bo answers for it: somebody else must review it"},
		{"somebody else is named", func(f *plan.PrerequisiteFacts) { f.Spec.Responsible, f.Unagreed = "mallory", "ada has not agreed" }, "production",
			"who answers for it: needs_approval: ada has not agreed"},
		{"retired by whom it only names", func(f *plan.PrerequisiteFacts) {
			f.Spec.Responsible, f.Unagreed = "mallory", "ada has not agreed"
			add(f, "review-1", "retire-1", func(r *desired.PrerequisiteRecord) { r.Kind, r.By = "retire", "mallory" })
		}, "production", "who answers for it: needs_approval: ada has not agreed"},
		{"retired by who answers still", func(f *plan.PrerequisiteFacts) {
			f.Spec.Responsible, f.Unagreed = "mallory", "ada has not agreed"
			add(f, "review-1", "retire-1", func(r *desired.PrerequisiteRecord) { r.Kind, r.By = "retire", "ada" })
		}, "retired", ""},
		{"nobody knows who may retire it", func(f *plan.PrerequisiteFacts) {
			f.Answers, f.Unagreed = "", "nobody has looked"
			add(f, "review-1", "retire-1", func(r *desired.PrerequisiteRecord) { r.Kind, r.By = "retire", "ada" })
		}, "production", "who answers for it: needs_approval: nobody has looked"},
		{"integrated in the past, as is known since today", func(f *plan.PrerequisiteFacts) {
			f.ProvenAt = map[string]time.Time{"integration-1": judgedAt.Add(-time.Hour)}
		}, "accepted", "soak: pending: until 2026-05-27T11:00:00Z"},
		{"known before it was integrated", func(f *plan.PrerequisiteFacts) {
			add(f, "integration-1", "integration-1", func(r *desired.PrerequisiteRecord) { r.At = "2026-05-14T00:00:00Z" })
			f.ProvenAt = map[string]time.Time{"integration-1": judgedAt.AddDate(-1, 0, 0)}
		}, "accepted", "soak: pending: until 2026-05-21T00:00:00Z"},
		{"proven to be whoever answers", func(f *plan.PrerequisiteFacts) { f.Proofs["review-1"] = plan.RecordProof{Who: "ada"} }, "tested", "review: blocked: bo answers for it: somebody else must review it"},
		{"review fails", change("review-1", func(r *desired.PrerequisiteRecord) { r.Verdict, r.Reason = "fail", "no" }), "tested", "review: fail: bo objects: no"},
		{"review inconclusive", change("review-1", func(r *desired.PrerequisiteRecord) { r.Verdict, r.Reason = "inconclusive", "half" }), "tested", "review: inconclusive: half"},
		{"pages of something else", func(f *plan.PrerequisiteFacts) { f.PagesSame = false }, "tested", "pages and scripts are one: fail: the pages are not of what the scripts do"},
		{"exception ended", func(f *plan.PrerequisiteFacts) {
			f.Spec.Systems["mac"] = desired.Provision{Exception: &desired.Exception{Expires: "2026-05-19"}}
		}, "tested", "exceptions: blocked: the exception on mac ended with 2026-05-19"},
		{"exception in force", func(f *plan.PrerequisiteFacts) {
			f.Spec.Systems["mac"] = desired.Provision{Exception: &desired.Exception{Expires: "2026-05-20"}}
		}, "production", ""},
		{"what it needs is not there", func(f *plan.PrerequisiteFacts) { f.Needs["libc"] = "tested" }, "tested", "what it needs: waiting_for_other: libc, which it needs, is tested"},
		{"what it needs is not in production", func(f *plan.PrerequisiteFacts) { f.Needs["libc"] = "accepted" }, "accepted", "what it needs: waiting_for_other: libc, which it needs, is accepted"},
		{"not integrated", func(f *plan.PrerequisiteFacts) { delete(f.Spec.Records, "integration-1") }, "accepted", "integration: pending: try what needs it with it"},
		{"integration failed", change("integration-1", func(r *desired.PrerequisiteRecord) { r.Verdict, r.Reason = "fail", "red" }), "accepted", "integration: fail: red"},
		{"soaks still", change("integration-1", func(r *desired.PrerequisiteRecord) { r.At = "2026-05-14T00:00:00Z" }), "accepted", "soak: pending: until 2026-05-21T00:00:00Z"},
		{"no way back", func(f *plan.PrerequisiteFacts) { delete(f.Spec.Records, "rollback-1") }, "accepted", "rollback: pending: try the way back"},
		{"retired", func(f *plan.PrerequisiteFacts) {
			add(f, "review-1", "retire-1", func(r *desired.PrerequisiteRecord) { r.Kind, r.By, r.Subject = "retire", "ada", "sha256:00" })
		}, "retired", ""},
		{"retired by somebody who does not answer for it", func(f *plan.PrerequisiteFacts) {
			add(f, "review-1", "retire-1", func(r *desired.PrerequisiteRecord) { r.Kind = "retire" })
		}, "production", ""},
		{"retired by nobody known", func(f *plan.PrerequisiteFacts) {
			add(f, "review-1", "retire-1", func(r *desired.PrerequisiteRecord) { r.Kind, r.By = "retire", "ada" })
			delete(f.Proofs, "retire-1")
		}, "production", "retire: needs_approval: nobody has looked who wrote it"},
	} {
		f := inProduction()
		c.change(&f)
		p := plan.PrerequisiteOf(f, judgedAt)
		got := ""
		if g, ok := p.Next(); ok {
			got = g.Name + ": " + string(g.Verdict) + ": " + g.Why
		}
		if p.State != c.state || got != c.next {
			t.Errorf("%s: %s, next %q, want %s and %q", c.name, p.State, got, c.state, c.next)
		}
	}
	f := inProduction()
	f.Digest = "sha256:22"
	if p := plan.PrerequisiteOf(f, judgedAt); strings.Join(p.Void, " ") != "integration-1 review-1 rollback-1 trial-1 trial-2" {
		t.Errorf("void are %v", p.Void)
	}
}
