package desired_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func (s *state) campaign(change func(*desired.Campaign)) {
	g := s.Campaigns["lattice"]
	change(&g)
	s.Campaigns["lattice"] = g
}

func (s *state) stage(name string, change func(*desired.Stage)) {
	g := s.Campaigns["lattice"].Stages[name]
	change(&g)
	s.Campaigns["lattice"].Stages[name] = g
}

// split is a case in which stage track is cut another way.
func split(split desired.Split) func(*state) {
	return func(s *state) { s.stage("track", func(g *desired.Stage) { g.Split = &split }) }
}

func argv(words ...string) func(*state) {
	return func(s *state) { s.stage("track", func(g *desired.Stage) { g.Job.Argv = words }) }
}

func input(in desired.Input) func(*state) {
	return func(s *state) { s.stage("track", func(g *desired.Stage) { g.Input = &in }) }
}

func TestCheckCampaignGraph(t *testing.T) {
	need := func(stage, of string, n desired.Need) func(*state) {
		return func(s *state) { s.stage(stage, func(g *desired.Stage) { g.Needs[of] = n }) }
	}
	runCheckCases(t, []checkCase{
		{"output that is not there", func(s *state) {
			s.stage("merge", func(g *desired.Stage) { g.Needs = map[string]desired.Need{"track": {Outputs: []string{"log", "hit"}}} })
		}, `campaigns.lattice.stages.merge.needs.track.outputs[1]: unknown output "hit"; did you mean "hits"?`},
		{"outputs of what has no job", need("merge", "look", desired.Need{Outputs: []string{"hits"}}),
			`campaigns.lattice.stages.merge.needs.look.outputs: stage "look" has no job, and so no outputs with names; remove them: it gets what that stage hands on`},
		{"outputs and an input", func(s *state) {
			s.stage("merge", func(g *desired.Stage) {
				g.Input = &desired.Input{Files: []string{"a"}}
				g.Needs = map[string]desired.Need{"track": {Outputs: []string{"hits"}}}
			})
		}, `campaigns.lattice.stages.merge.needs.track.outputs: stage "merge" has an input of its own, and works on no outputs; remove one of both`},
		{"past an approval", need("merge", "track", desired.Need{}),
			`campaigns.lattice.stages.merge.needs.track: stage "merge" would work on outputs of "track" before "look" has approved them; remove it: an approval hands on what it has approved`},
		{"nothing to cut", func(s *state) {
			s.stage("track", func(g *desired.Stage) { g.Job.Outputs, g.Recoveries = nil, nil })
			s.stage("merge", func(g *desired.Stage) { g.Split = &desired.Split{Type: desired.MergeSplit, N: 3} })
		}, `campaigns.lattice.stages.merge.needs.look: stage "look" leaves no files, and split merge of stage "merge" cuts some; declare outputs of its job, give this stage an input, or use another split`},
		{"only the order matters", func(s *state) { s.stage("track", func(g *desired.Stage) { g.Job.Outputs, g.Recoveries = nil, nil }) }, ""},
		{"tags that no output has", func(s *state) {
			s.stage("merge", func(g *desired.Stage) {
				g.Needs = map[string]desired.Need{"track": {Outputs: []string{"hits"}}}
				g.Split = &desired.Split{Type: desired.TagsSplit, Tags: map[string]string{"beam": "*beam*.hits", "cosmic": "*.cosmic", "bare": "beam.hits"}}
			})
		}, `campaigns.lattice.stages.merge.split.tags.bare: no output of what this stage needs can match "beam.hits"; outputs are whole paths: begin the pattern with *, and see the patterns of their jobs
			campaigns.lattice.stages.merge.split.tags.cosmic: no output of what this stage needs can match "*.cosmic"; outputs are whole paths: begin the pattern with *, and see the patterns of their jobs`},
		{"loop of nowhere", func(s *state) {
			s.campaign(func(g *desired.Campaign) { g.Loop = &desired.Loop{Stage: "merg", Max: 2} })
		},
			`campaigns.lattice.loop.stage: unknown stage "merg"; did you mean "merge"?`},
		{"loop of nothing", func(s *state) { s.stage("merge", func(g *desired.Stage) { g.Job.Outputs = nil }) },
			`campaigns.lattice.loop.stage: stage "merge" leaves no files that the first stages could work on; declare outputs of its job`},
		{"approval of nowhere", func(s *state) { s.campaign(func(g *desired.Campaign) { g.Approvals[1].Stage = "lok" }) },
			`campaigns.lattice.approvals[1].stage: unknown stage "lok"; did you mean "look"?`},
		{"approval of what needs none", func(s *state) { s.campaign(func(g *desired.Campaign) { g.Approvals[1].Stage = "track" }) },
			`campaigns.lattice.approvals[1].stage: stage "track" waits for no approval: its type is regular; name a stage of type approval, or none for the campaign`},
		{"approval twice", func(s *state) { s.campaign(func(g *desired.Campaign) { g.Approvals[1].Stage = "" }) },
			`campaigns.lattice.approvals[1]: this approval comes twice; remove one of them`},
	})
}

func TestCheckStages(t *testing.T) {
	runCheckCases(t, []checkCase{
		{"approval with a job", func(s *state) {
			s.stage("look", func(g *desired.Stage) {
				g.Job = &desired.Job{Argv: []string{"x"}, Outputs: map[string]desired.Output{"x": {Pattern: "x"}}}
			})
		},
			`campaigns.lattice.stages.look.job: a stage of type approval runs nothing; remove the job, or make the stage a regular one`},
		{"without a job", func(s *state) { s.stage("track", func(g *desired.Stage) { g.Job, g.Recoveries = nil, nil }) },
			`campaigns.lattice.stages.track: stage "track" runs nothing; give it a job, or make its type approval or transfer`},
		{"recovery without a job", func(s *state) {
			s.stage("look", func(g *desired.Stage) { g.Recoveries = []desired.Recovery{{Select: "not-consumed"}} })
		},
			`campaigns.lattice.stages.look.recoveries[0]: a stage without a job has nothing to recover; remove it`},
		{"about nothing", func(s *state) { s.stage("look", func(g *desired.Stage) { g.Needs = nil }) },
			`campaigns.lattice.stages.look: stage "look" is of type approval and about nothing; say by needs which stage's outputs it is about`},
		{"nothing to work on", func(s *state) { s.stage("track", func(g *desired.Stage) { g.Input = nil }) },
			`campaigns.lattice.stages.track: stage "track" has nothing to work on; give it an input or needs, or make its type generator`},
		{"generator with an input", func(s *state) { s.stage("track", func(g *desired.Stage) { g.Type = desired.GeneratorStage }) },
			`campaigns.lattice.stages.track.input: a generator has no input: it makes files from nothing; remove the input, or make the stage a regular one`},
		{"generator that cuts", func(s *state) {
			s.stage("track", func(g *desired.Stage) { g.Type, g.Input = desired.GeneratorStage, nil })
		},
			`campaigns.lattice.stages.track.split: split files cuts inputs, and a generator has none; use none, list, matrix, modulo or runs`},
		{"input twice", input(desired.Input{Files: []string{"a"}, Glob: "/a"}),
			`campaigns.lattice.stages.track.input: the input says more than once where it is; keep one of files, glob, http, sam and command`},
		{"input nowhere", input(desired.Input{}),
			`campaigns.lattice.stages.track.input: the input does not say where it is; give one of files, glob, http, sam and command`},
		{"SAM twice", input(desired.Input{SAM: &desired.SAM{URL: "u", Definition: "a", Dimensions: "b"}}),
			`campaigns.lattice.stages.track.input.sam: a dataset of SAM is a definition or dimensions; give one of both`},
		{"SAM nowhere", input(desired.Input{SAM: &desired.SAM{URL: "u"}}),
			`campaigns.lattice.stages.track.input.sam: a dataset of SAM is a definition or dimensions; give one of both`},
		{"settled for ever", input(desired.Input{Glob: "/a", Settle: "1h"}),
			`campaigns.lattice.stages.track.input.settle: only live data settles; add live: true, or remove it`},
		{"file twice", input(desired.Input{Files: []string{"a", "b", "a"}}),
			`campaigns.lattice.stages.track.input.files[2]: file "a" comes twice; remove one of them`},
		{"live, by a schedule", input(desired.Input{Glob: "/a", Live: true, Settle: "1h"}), ""},
		{"live, cut once", func(s *state) {
			input(desired.Input{Glob: "/a", Live: true})(s)
			s.campaign(func(g *desired.Campaign) { g.Schedule = nil })
		}, `campaigns.lattice.stages.track.input.live: split files takes what there is once, and not what comes later; use drain, existing-runs, runs, window, tags or merge, give the campaign a schedule, or remove live`},
		{"nothing is enough", func(s *state) { s.stage("track", func(g *desired.Stage) { g.Completion.Threshold = "0%" }) },
			`campaigns.lattice.stages.track.completion.threshold: nothing would be enough; give at least 1%`},
		{"outputs of nothing", func(s *state) {
			s.stage("merge", func(g *desired.Stage) {
				g.Job.Outputs["all"] = desired.Output{Pattern: "all", PerInput: new(int)}
				g.Completion.Criterion = "outputs"
			})
		}, `campaigns.lattice.stages.merge.completion.criterion: no output of its job has to be there; declare one with perInput above 0, or use jobs`},
		{"failed counts as done", func(s *state) { s.stage("track", func(g *desired.Stage) { g.Completion.CountFailedAsDone = true }) },
			`campaigns.lattice.stages.track.completion.countFailedAsDone: slices are complete by what there is, and not by how jobs end; set criterion: "jobs", or remove it`},
		{"six recoveries", func(s *state) {
			s.stage("track", func(g *desired.Stage) {
				g.Recoveries = []desired.Recovery{{Select: "not-consumed"}, {Select: "not-consumed"}, {Select: "not-consumed"}, {Select: "not-consumed"}, {Select: "not-consumed"}, {Select: "not-consumed"}}
			})
		}, `campaigns.lattice.stages.track.recoveries: there are 6 recoveries; keep at most 5`},
		{"recovery of nothing", func(s *state) {
			s.stage("merge", func(g *desired.Stage) { g.Recoveries = []desired.Recovery{{Select: "added-inputs"}} })
		}, `campaigns.lattice.stages.merge.recoveries[0].select: only a dataset gets more inputs; remove it: outputs that come later are slices of their own`},
		{"never again", func(s *state) { s.stage("track", func(g *desired.Stage) { g.Job.Retry.OnExit = []int{1} }) },
			`campaigns.lattice.stages.track.job.retry: nothing is tried again without max; add max`},
		{"status of Pomona", func(s *state) {
			s.stage("track", func(g *desired.Stage) { g.Job.Retry = desired.Retry{OnExit: []int{1, 75}, Max: 1} })
		},
			`campaigns.lattice.stages.track.job.retry.onExit[1]: exit status 75 is Pomona's own: the job was claimed by another; have the job use another one`},
		{"unknown profile", func(s *state) { s.campaign(func(g *desired.Campaign) { g.Profile = "grid" }) },
			`campaigns.lattice.profile: unknown profile "grid"; declare it in site.profiles`},
		{"profile of others", func(s *state) {
			s.Settings.Profiles = map[string]desired.Profile{"grid": {Engine: "slurm", Roles: []string{"production"}}}
			s.campaign(func(g *desired.Campaign) { g.Role = desired.Analysis })
			s.stage("track", func(g *desired.Stage) { g.Profile = "grid" })
		}, `campaigns.lattice.stages.track.profile: profile "grid" is not for campaigns of role analysis; use one that is, or add the role to site.profiles.grid.roles`},
		{"software of a job", func(s *state) {
			s.stage("track", func(g *desired.Stage) { g.Job.Software = map[string]string{"timing": "2.0"} })
		},
			`campaigns.lattice.stages.track.job.software.timing: unknown version "2.0" of "timing"; use one that is declared: 1.0-rc1`},
	})
}

func TestCheckArguments(t *testing.T) {
	runCheckCases(t, []checkCase{
		{"means nothing", argv("x", "${input}", "${HOME}"),
			`campaigns.lattice.stages.track.job.argv[1]: ${input} means nothing; did you mean "inputs"?
			campaigns.lattice.stages.track.job.argv[2]: ${HOME} means nothing; use ${params.NAME}, ${software.NAME}, ${attempt}, ${campaign}, ${inputs}, ${outputs}, ${slice}, ${stage}, or have the program read its environment`},
		{"unknown parameter", argv("x", "a${slice}b${params.energie}"),
			`campaigns.lattice.stages.track.job.argv[1]: unknown parameter "energie"; did you mean "energy"?`},
		{"unknown software", argv("x", "${software.bpm}"),
			`campaigns.lattice.stages.track.job.argv[1]: unknown software "bpm"; declare it in campaigns.lattice.stages.track.job.software`},
		{"no program", argv("A=b", "x"), `campaigns.lattice.stages.track.job.argv[0]: a program whose name has = cannot be run; put variables into environment`},
		{"of the split", func(s *state) {
			split(desired.Split{Type: desired.ExistingRunsSplit})(s)
			argv("x", "${params.run}")(s)
			s.stage("track", func(g *desired.Stage) { g.TestSplit = &desired.Split{Type: desired.RunsSplit, High: 3} })
		}, ""},
		{"not of tests", func(s *state) {
			split(desired.Split{Type: desired.ExistingRunsSplit})(s)
			argv("x", "${params.run}")(s)
		}, `warning: campaigns.lattice.stages.track.job.argv[1]: tests of the stage have no parameter "run"; add it to testParams, or give a testSplit that does`},
		{"of the slice before", func(s *state) {
			split(desired.Split{Type: desired.RunsSplit, High: 3})(s)
			s.stage("track", func(g *desired.Stage) { g.TestSplit = g.Split })
			s.stage("merge", func(g *desired.Stage) {
				g.Job.Argv = []string{"merge", "${params.run}"}
				g.Needs["look"] = desired.Need{}
			})
		}, ""},
		{"not of all slices together", func(s *state) {
			split(desired.Split{Type: desired.RunsSplit, High: 3})(s)
			s.stage("merge", func(g *desired.Stage) { g.Job.Argv = []string{"merge", "${params.run}"} })
		}, `campaigns.lattice.stages.merge.job.argv[1]: unknown parameter "run"; declare it in campaigns.lattice.stages.merge.params`},
	})
}

func TestCheckSplits(t *testing.T) {
	runCheckCases(t, []checkCase{
		{"what it does not have", split(desired.Split{Type: desired.FilesSplit, N: 2, Lag: "1h", Size: "1GiB"}),
			`campaigns.lattice.stages.track.split.lag: split files has no lag; remove it
			campaigns.lattice.stages.track.split.size: split files has no size; remove it`},
		{"what it needs", split(desired.Split{Type: desired.DrainSplit}), `campaigns.lattice.stages.track.split: split drain needs n; add it`},
		{"merge of what", split(desired.Split{Type: desired.MergeSplit}), `campaigns.lattice.stages.track.split: split merge needs n or size; add one of both`},
		{"runs backwards", split(desired.Split{Type: desired.RunsSplit, Low: 5, High: 4}),
			`campaigns.lattice.stages.track.split.high: runs end with 4, before they begin with 5; give a higher one`},
		{"too many runs", split(desired.Split{Type: desired.RunsSplit, High: 2_000_000}),
			`campaigns.lattice.stages.track.split.high: these are more than 1000000 runs; split the campaign`},
		{"windows backwards", split(desired.Split{Type: desired.WindowSplit, Width: "1d", From: "2026-10-02T00:00:00Z", Until: "2026-10-02T01:00:00+02:00"}),
			`campaigns.lattice.stages.track.split.until: windows end at 2026-10-02T01:00:00+02:00, not after they begin at 2026-10-02T00:00:00Z; give a later time`},
		{"no such day", split(desired.Split{Type: desired.WindowSplit, Width: "1d", From: "2026-02-30T00:00:00Z"}),
			`campaigns.lattice.stages.track.split.from: 2026-02-30T00:00:00Z is no moment; give a day and a time that there are, for instance 2026-10-01T00:00:00Z`},
		{"no such zone", split(desired.Split{Type: desired.WindowSplit, Width: "1d", TimeZone: "Europe/Berln"}),
			`campaigns.lattice.stages.track.split.timeZone: unknown time zone "Europe/Berln"; give the IANA name of one, for instance Europe/Berlin`},
		{"staged without SAM", split(desired.Split{Type: desired.StagedSplit, N: 1, Project: "p"}),
			`campaigns.lattice.stages.track.split: split staged asks SAM what a project has staged; give the stage an input of SAM, or use drain`},
		{"resplit of a dataset", split(desired.Split{Type: desired.ResplitSplit, N: 1}),
			`campaigns.lattice.stages.track.split: split resplit cuts the outputs of other stages; use files or drain for an input, or give the stage needs alone`},
		{"list beside an input", split(desired.Split{Type: desired.ListSplit, Items: []string{"a", "b", "a"}}),
			`campaigns.lattice.stages.track.input: slices of split list have its items as inputs, and no others; remove the input or the split
			campaigns.lattice.stages.track.split.items[2]: item "a" comes twice; remove one of them`},
		{"an input of slices that others make", split(desired.Split{Type: desired.ExternalSplit}),
			`campaigns.lattice.stages.track.input: slices of split external have the inputs that whoever makes them says, and no others; remove the input or the split`},
		{"a schedule of slices that others make", func(s *state) {
			s.stage("track", func(g *desired.Stage) { g.Input, g.Split = nil, &desired.Split{Type: desired.ExternalSplit} })
			s.campaign(func(c *desired.Campaign) { c.Schedule = &desired.Schedule{Cron: "0 * * * *"} })
		},
			`campaigns.lattice.stages.track.split: slices of split external come when others make them, and a schedule starts none; remove the schedule or the split`},
		{"no stages", func(s *state) {
			s.campaign(func(g *desired.Campaign) { g.Stages, g.Approvals, g.Loop = nil, nil, nil })
		}, `campaigns.lattice.stages: this campaign has no stages; give it one, or remove it`},
		{"split of tests", func(s *state) {
			s.stage("track", func(g *desired.Stage) { g.TestSplit = &desired.Split{Type: desired.SampleSplit} })
		},
			`campaigns.lattice.stages.track.testSplit: split sample needs n; add it`},
	})
}

func TestCheckSchedules(t *testing.T) {
	cron := func(cron, zone string) func(*state) {
		return func(s *state) {
			s.campaign(func(g *desired.Campaign) { g.Schedule = &desired.Schedule{Cron: cron, TimeZone: zone} })
		}
	}
	const advice = `give minute, hour, day of the month, month and day of the week, for instance "30 6 * * 1-5"`
	runCheckCases(t, []checkCase{
		{"the last of the month", cron("0 0 L * *", ""), ""},
		{"out of range", cron("61 * * * *", ""), `campaigns.lattice.schedule.cron: malformed schedule "61 * * * *"; ` + advice},
		{"never", cron("0 0 30 2 *", ""), `campaigns.lattice.schedule.cron: "0 0 30 2 *": no such time comes in the next years; ` + advice},
		{"nowhere", cron("0 0 * * *", "Mars/Olympus"), `campaigns.lattice.schedule.timeZone: unknown time zone "Mars/Olympus"; give the IANA name of one, for instance Europe/Berlin`},
	})
}

// Meet finds a name that two patterns match, whatever they are: the name itself made both.
func TestPatternsOfOneNameMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[ab.]{0,8}`).Draw(t, "name")
		blur := func(label string) string {
			var b strings.Builder
			for _, c := range name {
				switch rapid.IntRange(0, 3).Draw(t, label) {
				case 0:
					b.WriteByte('?')
				case 1:
					b.WriteByte('*')
				default:
					b.WriteRune(c)
				}
			}
			return b.String()
		}
		a, b := blur("a"), blur("b")
		if !desired.Matches(a, name) || !desired.Matches(b, name) || !desired.Meet(a, b) {
			t.Fatalf("%q: %q %v, %q %v, meet %v", name, a, desired.Matches(a, name), b, desired.Matches(b, name), desired.Meet(a, b))
		}
	})
	for _, c := range [][2]string{{"a*", "b*"}, {"*.x", "*.y"}, {"a", "ab"}, {"?", ""}, {"a?c", "abd"}} {
		if desired.Meet(c[0], c[1]) {
			t.Errorf("%s and %s have no name in common", c[0], c[1])
		}
	}
	for pattern, name := range map[string]string{"a*": "b", "*.x": "a.xy", "?": "", "a": "ab", "": "a", "a*b*c": "ab"} {
		if desired.Matches(pattern, name) {
			t.Errorf("%s matches %s", pattern, name)
		}
	}
}

func TestCheckRoles(t *testing.T) {
	people := func(who map[string][]string, change func(*desired.Campaign)) func(*state) {
		return func(s *state) {
			s.Settings.Campaigns.People = who
			s.campaign(func(g *desired.Campaign) { g.Requester = "ann@example.org"; change(g) })
		}
	}
	some := map[string][]string{desired.Production: {"ann@example.org", "zoe"}, desired.Shifter: {"sam"}, desired.Analysis: {"stu@example.org"}}
	runCheckCases(t, []checkCase{
		{"anybody", people(nil, func(g *desired.Campaign) { g.Requester, g.Assignee = "who@example.org", "who" }), ""},
		{"of its role", people(some, func(g *desired.Campaign) { g.Assignee = "sam@example.org" }), ""},
		{"requested by a shifter", people(some, func(g *desired.Campaign) { g.Requester = "sam" }),
			`campaigns.lattice.requester: sam may not request a campaign of role production; name them in site.campaigns.people.production, or give it another role`},
		{"shifter's own", people(some, func(g *desired.Campaign) { g.Requester, g.Role = "sam", desired.Shifter }), ""},
		{"shifter's analysis", people(some, func(g *desired.Campaign) { g.Requester, g.Role = "sam", desired.Analysis }),
			`campaigns.lattice.requester: sam may not request a campaign of role analysis; name them in site.campaigns.people.production or site.campaigns.people.analysis, or give it another role`},
		{"seen to by a student", people(some, func(g *desired.Campaign) { g.Assignee = "stu" }),
			`campaigns.lattice.assignee: stu may not see to a campaign of role production; name them in site.campaigns.people.production or site.campaigns.people.shifter, or give it another role`},
		{"student's", people(some, func(g *desired.Campaign) { g.Requester, g.Assignee, g.Role = "stu", "stu", desired.Analysis }), ""},
		{"nobody may approve", people(map[string][]string{desired.Production: {"ann"}}, func(g *desired.Campaign) { g.NeedsApproval = new(bool); *g.NeedsApproval = true }),
			`campaigns.lattice.requester: nobody but its requester may approve it; name somebody else in site.campaigns.people.production`},
		{"a policy undone", func(s *state) {
			s.Settings.Campaigns.Approval = []string{desired.Production}
			s.campaign(func(g *desired.Campaign) { g.NeedsApproval = new(bool) })
		}, `campaigns.lattice.needsApproval: campaigns of role production have to be approved: site.campaigns.approval says so; remove it`},
		{"the only profile of others", func(s *state) {
			s.Settings.Profiles = map[string]desired.Profile{"grid": {Engine: "slurm", Roles: []string{"production"}}}
			s.campaign(func(g *desired.Campaign) { g.Role, g.Profile = desired.Analysis, "" })
			s.stage("merge", func(g *desired.Stage) { g.Profile = "local" })
		}, `campaigns.lattice.stages.track.job: profile "grid" is not for campaigns of role analysis; use one that is, or add the role to site.profiles.grid.roles`},
	})
}

// Who may approve and give orders.
func TestWhatRolesMay(t *testing.T) {
	policy := desired.CampaignPolicy{People: map[string][]string{desired.Production: {"ann@example.org", "zoe"}, desired.Shifter: {"sam"}, desired.Analysis: {"stu", "tom"}}}
	for _, c := range []struct {
		who, role                 string
		approves, stage, commands bool
	}{
		{"zoe@example.org", desired.Production, true, true, true},
		{"ann", desired.Production, false, false, true}, // its requester
		{"sam", desired.Production, false, true, true},
		{"sam", desired.Shifter, false, true, true},
		{"sam", desired.Analysis, true, true, true},
		{"stu", desired.Production, false, false, false},
		{"stu", desired.Analysis, false, false, true}, // sees to it
		{"tom", desired.Analysis, false, false, false},
		{"bob", desired.Analysis, false, false, false},
	} {
		g := desired.Campaign{Requester: "ann@example.org", Assignee: "stu@example.org", Role: c.role}
		if a, s, o := policy.MayApprove(c.who, g, false), policy.MayApprove(c.who, g, true), policy.MayOrder(c.who, g); a != c.approves || s != c.stage || o != c.commands {
			t.Errorf("%s of role %s: approves %v, a stage %v, orders %v", c.who, c.role, a, s, o)
		}
	}
	if anybody := (desired.CampaignPolicy{}); !anybody.MayOrder("bob", desired.Campaign{}) || !anybody.MayApprove("bob", desired.Campaign{Requester: "ann"}, false) || anybody.MayApprove("ann", desired.Campaign{Requester: "ann"}, true) {
		t.Error("without people anybody may but the requester approve")
	}
}
