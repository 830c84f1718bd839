package submit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// shells are those that jobs find: Debian's, and busybox with nothing but its own programs.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	box, err := exec.LookPath("busybox")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("busybox is missing: .ci/setup must install Debian's package busybox-static")
		}
		t.Skip("SKIPPED: busybox is missing; install Debian's package busybox-static")
	}
	bin := t.TempDir()
	out, err := exec.Command(box, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		if err := os.Symlink(box, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return map[string][]string{"dash": {"/bin/dash"}, "busybox": {filepath.Join(bin, "env"), "PATH=" + bin, box, "sh"}}
}

// inEachShell runs works to their end.
func inEachShell(t *testing.T, w submit.Work, check func(*testing.T, *desk, string)) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.batch.shell = shell
			d.intend(w)
			if err := d.step(); err != nil {
				t.Fatal(err)
			}
			key := only(d.launches).Key
			if name == "busybox" { // what starts the job is the batch system's
				for _, call := range []string{"call"} {
					files, err := os.ReadDir(filepath.Join(d.Folder, key, call))
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range files {
						path := filepath.Join(d.Folder, key, call, f.Name())
						b, err := os.ReadFile(path)
						if err == nil {
							err = os.WriteFile(path, []byte(strings.Replace(string(b), "exec /bin/sh", "exec sh", 1)), 0o755)
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			d.batch.run()
			if err := d.step(); err != nil {
				t.Fatal(err)
			}
			check(t, d, key)
		})
	}
}

func TestAJobGetsItsArgumentsAndNoOtherEnvironment(t *testing.T) {
	w := work(1, "/bin/sh", "-c", `printf '[%s]\n' "$@" >"$POMONA_OUTPUTS/arguments"; env >"$POMONA_OUTPUTS/environment"; pwd >"$POMONA_OUTPUTS/pwd"; cat "$POMONA_INPUTS" >"$POMONA_OUTPUTS/inputs"; cat`, "me",
		"", "it's \"$HOME\" `id`\n\\n;", "${params.gain}", "x-${slice}-${params.word}-$1", "${outputs}/y", "${inputs}", "${campaign} ${stage} ${attempt} ${software.bpm-lib}")
	w.Software = map[string]string{"bpm-lib": "3.1.0"}
	w.Environment = map[string]string{"OURS": "profile", "A": "a b"}
	w.Job.Environment = map[string]string{"OURS": "job's $X"}
	w.URL, w.Token = "https://pomona/x", func(string) string { return "t" }
	w.Tasks[0].Params = map[string]string{"gain": "3", "word": "a'b"}
	w.Tasks[0].Slice.Inputs = []string{"/data/a b", "/data/c"}
	inEachShell(t, w, func(t *testing.T, d *desk, key string) {
		folder := filepath.Join(d.Folder, key)
		end := d.file(key, "end/1")
		_, run, _ := strings.Cut(end, "\nfolder ")
		run, _, _ = strings.Cut(run, "\n")
		run = filepath.Join(folder, run)
		want := "[]\n[it's \"$HOME\" `id`\n\\n;]\n[3]\n[x-s1-a'b-$1]\n[" + run + "/outputs/y]\n[" + folder + "/inputs/1]\n[keepup reco 1 3.1.0]\n"
		if diff := cmp.Diff(want, d.file(key, "out/1/arguments")); diff != "" {
			t.Errorf("arguments (-want +got):\n%s\n%s\n%s", diff, d.file(key, "log/1"), end)
		}
		got := strings.Split(strings.TrimSpace(d.file(key, "out/1/environment")), "\n")
		got = slices.DeleteFunc(got, func(v string) bool { // of the shell that the job is
			name, _, _ := strings.Cut(v, "=")
			return slices.Contains([]string{"PWD", "OLDPWD", "SHLVL", "_", "USER"}, name)
		})
		slices.Sort(got)
		if diff := cmp.Diff([]string{
			"A=a b", "CUDA_VISIBLE_DEVICES=0,1", "HOME=" + run + "/work", "LANG=C.UTF-8", "OURS=job's $X", "PATH=/usr/local/bin:/usr/bin:/bin",
			"POMONA_ATTEMPT=1", "POMONA_CAMPAIGN=keepup", "POMONA_INPUTS=" + folder + "/inputs/1", "POMONA_JOB=1_1", "POMONA_KEY=" + key,
			"POMONA_OUTPUTS=" + run + "/outputs", "POMONA_PARAM_gain=3", "POMONA_PARAM_word=a'b", "POMONA_SLICE=s1", "POMONA_SOFTWARE_bpm_lib=3.1.0",
			"POMONA_STAGE=reco", "POMONA_TASK=1", "POMONA_TOKEN_FILE=" + folder + "/token/1", "POMONA_URL=https://pomona/x", "TMPDIR=/tmp",
		}, got); diff != "" {
			t.Errorf("environment (-want +got):\n%s", diff)
		}
		if got := d.file(key, "out/1/inputs"); got != "/data/a b\n/data/c\n" {
			t.Errorf("inputs %q", got)
		}
		if got := d.file(key, "out/1/pwd"); got != run+"/work\n" {
			t.Errorf("it ran in %q", got)
		}
		if s := only(d.submissions); s.State != done {
			t.Errorf("%+v", s)
		}
	})
}

func TestAJobIsTriedAgainByItsExitStatus(t *testing.T) {
	for _, c := range []struct {
		retry desired.Retry
		ran   string
		exit  int
	}{
		{desired.Retry{}, "1", 1},
		{desired.Retry{OnExit: []int{1, 2}, Max: 5}, "123", 3},
		{desired.Retry{OnExit: []int{1, 2}, Max: 1}, "12", 2},
		{desired.Retry{OnExit: []int{11, 2}, Max: 5}, "1", 1},
		{desired.Retry{OnExit: []int{1, 2}, Max: 5, MemoryFactor: 2}, "1", 1}, // a new attempt
	} {
		w := work(1, script(`n=$(($(cat ../../../n || echo 0) + 1)); echo $n >../../../n; printf %s $n >>../../../ran; [ ! -e "$POMONA_OUTPUTS/old" ] || exit 99; >"$POMONA_OUTPUTS/old"; exit $n`)...)
		w.Job.Retry = c.retry
		inEachShell(t, w, func(t *testing.T, d *desk, key string) {
			if s := only(d.submissions); s.State != failed || s.Exit != c.exit || d.file(key, "ran") != c.ran {
				t.Errorf("%+v: ran %s, %+v\n%s", c.retry, d.file(key, "ran"), s, d.file(key, "log/1"))
			}
		})
	}
}

func TestASignalOfTheProgramIsTold(t *testing.T) {
	inEachShell(t, work(1, script("kill -9 $$")...), func(t *testing.T, d *desk, key string) {
		if s := only(d.submissions); s.State != failed || s.Exit != 137 || s.Signal != 9 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAProgramThatIsNotThereIsAFailure(t *testing.T) {
	inEachShell(t, work(1, "/no/such/program"), func(t *testing.T, d *desk, key string) {
		if s := only(d.submissions); s.State != failed || s.Exit != 127 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWhatCannotBeRenderedIsRefused(t *testing.T) {
	for want, argv := range map[string][]string{
		"nothing is known of ${params.x}": {"a", "${params.x}"},
		"nothing is known of ${HOME}":     {"a", "${HOME}"},
		"has no =":                        {"a=b", "c"},
		"zero byte":                       {"a", "\x00"},
	} {
		d := newDesk(t)
		if err := d.Prepare(t.Context(), work(1, argv...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", argv, err)
		}
		if names, err := os.ReadDir(d.Folder); len(names) != 0 || err != nil {
			t.Errorf("%q leaves %v, %v", argv, names, err)
		}
	}
}

func TestAFolderThatNobodyUsedIsMadeAnew(t *testing.T) {
	d := newDesk(t)
	first, second := work(1, "first"), work(1, "second")
	for _, w := range []submit.Work{first, second} {
		if err := d.Prepare(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	l, _ := second.Intent(d.now)
	if got := d.file(l.Key, "task/1"); !strings.Contains(got, "'second'") {
		t.Errorf("task %q", got)
	}
	d.intend(work(1, "second"))
	d.must(submitted)
	d.intend(work(1, "third"))
	if got := d.file(l.Key, "task/1"); !strings.Contains(got, "'second'") {
		t.Errorf("what was handed in became %q", got)
	}
	if names, err := os.ReadDir(d.Folder); len(names) != 2 || err != nil { // and lock
		t.Errorf("left %v, %v", names, err)
	}
}

func TestKeysSayWhatIsDoneAndNotHow(t *testing.T) {
	s := observed.Slice{UID: "keepup/1", Stage: "reco", Epoch: 1, ID: "s"}
	key := submit.Key("linac", s, 0, 1)
	if key != "pom-bof4u1bsjg24ssjt7t7704shqp" {
		t.Errorf("the key of all that was ever submitted has changed: %s", key)
	}
	other := s
	other.Label, other.Digest, other.Round, other.Tries = "x", "y", 3, 4
	if got := submit.Key("linac", other, 0, 1); got != key {
		t.Errorf("it depends on how: %s", got)
	}
	seen := map[string]bool{key: true}
	for _, k := range []string{
		submit.Key("gsi", s, 0, 1), submit.Key("linac", s, 1, 1), submit.Key("linac", s, 0, 2),
		submit.Key("linac", observed.Slice{UID: "keepup/2", Stage: "reco", Epoch: 1, ID: "s"}, 0, 1),
		submit.Key("linac", observed.Slice{UID: "keepup/1", Stage: "merge", Epoch: 1, ID: "s"}, 0, 1),
		submit.Key("linac", observed.Slice{UID: "keepup/1", Stage: "reco", Epoch: 2, ID: "s"}, 0, 1),
		submit.Key("linac", observed.Slice{UID: "keepup/1", Stage: "reco", Epoch: 1, ID: "t"}, 0, 1),
		submit.LaunchKey([]string{key, key}),
	} {
		if seen[k] || len(k) != 30 {
			t.Errorf("%s comes twice", k)
		}
		seen[k] = true
	}
	if submit.LaunchKey([]string{key}) != key {
		t.Error("a launch of one submission has another key")
	}
}

func TestShellcheckFindsNothing(t *testing.T) {
	check, err := exec.LookPath("shellcheck")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("shellcheck is missing: .ci/setup must install Debian's package shellcheck")
		}
		t.Skip("SKIPPED: shellcheck is missing; install Debian's package shellcheck")
	}
	if out, err := exec.Command(check, "job.sh").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
