package propose_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/propose"
)

var update = flag.Bool("update", false, "write the expected campaigns anew")

var poms = propose.POMS{
	Requester: "orbit@example.org", SAM: "https://samweb.example.org:8483/sam/EXPERIMENT/api",
	Now: time.Date(2026, 11, 21, 12, 34, 56, 0, time.UTC),
}

// TestCampaignsOfPOMS imports testdata/poms_*.ini. What comes out is validated by the command's own test.
func TestCampaignsOfPOMS(t *testing.T) {
	files, err := filepath.Glob("testdata/poms_*.ini")
	if err != nil || len(files) == 0 {
		t.Fatal("no dumps", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := propose.FromPOMS(b, poms)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".ini") + ".cue"
			if *update {
				if err := os.WriteFile(golden, got.Text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got.Text)); d != "" {
				t.Error(d)
			}
		})
	}
}

// dumped is a dump with one stage.
func dumped(stage, jobType, login string) string {
	return "[campaign]\nexperiment=orbit\nname=c\n[campaign_stage s]\njob_type=j\nlogin_setup=l\n" + stage +
		"\n[job_type j]\n" + jobType + "\n[login_setup l]\n" + login + "\n"
}

func TestWhatPOMSWroteComesOut(t *testing.T) {
	for _, c := range []struct {
		name, stage, job, login string
		want                    []string // parts of the text
	}{
		{"runs end before high", "dataset_or_split_data=d\ncs_split_type=byrun(low=3,high=7)", "launch_script=x", "", []string{`{type: "runs", low: 3, high: 6}`}},
		{"runs without any", "dataset_or_split_data=d\ncs_split_type=byrun(low=3,high=3)", "launch_script=x", "", []string{"makes no slice", `low: 3, high: 3}`}},
		{"existing runs", "dataset_or_split_data=d\ncs_split_type=byexistingruns()", "launch_script=x", "", []string{`{type: "existing-runs"}`, "live: true"}},
		{"draining", "dataset_or_split_data=d\ncs_split_type=draining", "launch_script=x", "", []string{`{type: "drain", n: 1000000}`, "live: true"}},
		{"drainingn", "dataset_or_split_data=d\ncs_split_type=drainingn(7)", "launch_script=x", "", []string{`{type: "drain", n: 7}`, "live: true"}},
		{"mod", "dataset_or_split_data=d\ncs_split_type=mod(7)", "launch_script=x", "", []string{`{type: "modulo", n: 7}`}},
		{"limitn", "dataset_or_split_data=d\ncs_split_type=limitn(7)", "launch_script=x", "", []string{`{type: "sample", n: 7}`}},
		{"staged files", "dataset_or_split_data=p1\ncs_split_type=stagedfiles(4)", "launch_script=x", "", []string{`dimensions: "project_name p1 and consumed_status consumed"`, `{type: "drain", n: 4}`}},
		{"a list", "dataset_or_split_data=a, b\ncs_split_type=list", "launch_script=x %(dataset)s", "", []string{`{type: "matrix", params: {dataset: ["a", "b"]}}`, `"${params.dataset}"`}},
		{"windows from now on", "dataset_or_split_data=d\ncs_split_type=new(window=1d)", "launch_script=x", "", []string{`width: "1d", lag: "30m", from: "2026-11-20T11:00:00Z"`, "see whether it is right"}},
		{"a split without its number", "dataset_or_split_data=d\ncs_split_type=nfiles()", "launch_script=x", "", []string{"has no number"}},
		{"an unknown split", "dataset_or_split_data=d\ncs_split_type=bymoon(3)", "launch_script=x", "", []string{"the split bymoon is not known"}},
		{"a dataset by dimensions", "dataset_or_split_data=run_number 12 and file_type raw", "launch_script=x", "", []string{`dimensions: "run_number 12`}},
		{"a share that is no whole one", "completion_pct=99.5", "launch_script=x", "", []string{`threshold: "100%"`}},
		{"a share of nothing", "completion_pct=0", "launch_script=x", "", []string{"completion_pct 0 is not taken over"}},
		{"a simple program needs no shell", "", "launch_script=/opt/reco -v %(version)s\nparameters=[[\"-n \",\"3\"]]", "", []string{"\"/opt/reco\",\n\t\t\t\t\t\"-v\",", "\"-n\",\n\t\t\t\t\t\"3\","}},
		{"braces of a shell", "", "launch_script=a ${X}_y ${Z}/w", "setup=b", []string{`b; a $X\"\"_y $Z/w \"$@\"`}},
		{"more than a name in braces", "", "launch_script=a ${X:-y}", "", []string{`environment: POMS_LAUNCH: "a ${X:-y}"`, `eval \"$POMS_LAUNCH \\\"\\$@\\\"\"`}},
		{"the number of jobs", "param_overrides=[[\"-Osubmit.N=\",\"10\"]]", "launch_script=x", "", []string{"list.Range(0, 10, 1)"}},
		{"a pattern as configparser writes it", "", "launch_script=x\noutput_file_patterns=%%.root", "", []string{`root: pattern: "*.root"`}},
		{"disk in KiB", "param_overrides=[[\"--disk=\",\"4096\"],[\"--cpu=\",\"2\"]]", "launch_script=x", "", []string{`{cpus: 2, disk: "4096KiB"}`}},
		{"a resource that is a word", "param_overrides=[[\"--expected-lifetime=\",\"medium\"]]", "launch_script=x", "", []string{"--expected-lifetime=medium is not taken over"}},
		{"overrides that are none", "param_overrides=--stage=x", "launch_script=x", "", []string{"no list of pairs"}},
		{"a line break that would end a comment", "whim=\"\"\"a\ncampaigns: evil: {}\"\"\"", "launch_script=x", "", []string{"// POMS: whim is not known"}},
		{"quoted lists", "param_overrides=\"[]\"\ntest_param_overrides='[]'", "launch_script=x", "", []string{`"x",`}},
	} {
		got, err := propose.FromPOMS([]byte(dumped(c.stage, c.job, c.login)), poms)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(string(got.Text), want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, got.Text)
			}
		}
		if strings.Contains(string(got.Text), "\ncampaigns: evil") {
			t.Errorf("%s: a comment was ended:\n%s", c.name, got.Text)
		}
	}
}

func TestOverridesTakeEachOthersPlace(t *testing.T) {
	const defaults = "[campaign_defaults]\nparam_overrides=[[\"-a=\",\"default\"],[\"-b=\",\"default\"]]\n"
	for _, c := range []struct{ merge, want string }{
		{"True", `"-a=stage", "-c=job", "-b=default",`}, {"False", `"-a=stage", "-c=job",`},
	} {
		text := dumped("merge_overrides="+c.merge+"\nparam_overrides=[[\"-a=\",\"stage\"]]", "launch_script=x\nparameters=[[\"-a=\",\"job\"],[\"-c=\",\"job\"]]", "") + defaults
		got, err := propose.FromPOMS([]byte(text), poms)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(strings.Fields(string(got.Text)), " "), `"x", `+c.want+" ]") {
			t.Errorf("merge %s:\n%s", c.merge, got.Text)
		}
	}
}

func TestACircleIsNotTakenOver(t *testing.T) {
	text := "[campaign]\nname=c\n[campaign_stage a]\n[campaign_stage b]\n[dependencies a]\ncampaign_stage_1=b\nfile_pattern_1=%\n[dependencies b]\ncampaign_stage_1=a\nfile_pattern_1=%\n"
	got, err := propose.FromPOMS([]byte(text), poms)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(got.Text), "needs: {"); n != 1 || !strings.Contains(string(got.Text), "write loop:") {
		t.Errorf("%d stages need others:\n%s", n, got.Text)
	}
}

func TestNoDumpOfPOMS(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "this is no campaign of POMS"},
		"no stage":          {"[campaign]\nname=c\n", "this is no campaign of POMS"},
		"no ini":            {"{\"campaign\": 1}", "read dump"},
		"a stage twice":     {"[campaign]\nname=c\n[campaign_stage a]\n[campaign_stage  a]\n", "there twice"},
		"an unknown need":   {"[campaign]\nname=c\n[campaign_stage a]\n[dependencies a]\ncampaign_stage_1=b\n", `the stage "b", which is not in the dump`},
		"before a section":  {"a=1\n[campaign]\nname=c\n[campaign_stage a]\n", "before the first section"},
		"without requester": {"[campaign]\nname=c\n[campaign_stage a]\n", "name the requester"},
	} {
		o := poms
		if name == "without requester" {
			o.Requester = ""
		}
		_, err := propose.FromPOMS([]byte(c.text), o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzFromPOMS(f *testing.F) {
	b, err := os.ReadFile("testdata/poms_mc.ini")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(dumped("cs_split_type=new(window=1e9w,firsttime=-1)", "launch_script=${", "setup=%("))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := propose.FromPOMS([]byte(text), poms)
		if err == nil && !strings.Contains(string(got.Text), "state: \"draft\"") && !strings.Contains(string(got.Text), "state:     \"draft\"") {
			t.Errorf("something may start:\n%s", got.Text)
		}
	})
}
