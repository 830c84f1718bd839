package observe_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

var datasetNow = time.Date(2026, 10, 2, 12, 0, 0, 0, time.UTC)

func namesOf(inputs []observed.Input) (names []string) {
	for _, in := range inputs {
		names = append(names, in.Name)
	}
	return names
}

// pages serves each path with its query as it is given.
func pages(t *testing.T, of map[string]string) string {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := of[r.URL.RequestURI()]
		if !ok {
			http.Error(w, "none", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(web.Close)
	return web.URL
}

func TestDatasetOfACatalogue(t *testing.T) {
	web := pages(t, map[string]string{
		"/files?page=1": `{"data": {"files": [{"id": "b.root", "meta": {"run": 7, "end": "2026-10-01T00:00:00Z", "bytes": "12"}}]}, "next": "?page=2"}`,
		"/files?page=2": `{"data": {"files": [{"id": "a.root", "meta": {"run": "8", "end": 1790812800.5}}, {"id": "b.root"}]}, "next": null}`,
	})
	got, err := observe.Datasets{}.Read(t.Context(), desired.Input{HTTP: &desired.Catalogue{URL: web + "/files?page=1", Items: "data.files", Name: "id",
		RunNumber: "meta.run", Time: "meta.end", Size: "meta.bytes", Next: "next"}}, "", datasetNow)
	want := []observed.Input{
		{Name: "a.root", Run: 8, Time: time.Date(2026, 10, 1, 0, 0, 0, 5e8, time.UTC)},
		{Name: "b.root", Run: 7, Time: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), Size: 12},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A catalogue that does not answer, or not whole, is an error and never a small dataset.
func TestDatasetOfABrokenCatalogueIsAnError(t *testing.T) {
	web := pages(t, map[string]string{
		"/cut":      `["a", "b"`,
		"/two":      `["a"]["b"]`,
		"/object":   `{"files": 1}`,
		"/number":   `[7]`,
		"/nameless": `[{"x": "a"}]`,
		"/control":  `["a\nb"]`,
		"/empty":    `[""]`,
		"/long":     `["` + strings.Repeat("a", 1001) + `"]`,
		"/run":      `[{"name": "a", "run": "x"}]`,
		"/time":     `[{"name": "a", "time": "yesterday"}]`,
		"/circle":   `{"files": ["a"], "next": "/circle"}`,
		"/away":     `{"files": ["a"], "next": "http://elsewhere.example.org/"}`,
		"/number2":  `{"files": ["a"], "next": 2}`,
		"/second":   `{"files": ["a"], "next": "/nowhere"}`,
	})
	for path, want := range map[string]string{
		"/cut": "no JSON", "/two": "something follows", "/object": "no array", "/number": "it has no name", "/nameless": "it has no name", "/control": "cannot be",
		"/empty": "cannot be", "/long": "cannot be", "/run": "no whole number", "/time": "no time", "/nowhere": "404 Not Found",
	} {
		got, err := observe.Datasets{}.Read(t.Context(), desired.Input{HTTP: &desired.Catalogue{URL: web + path, RunNumber: "run", Time: "time"}}, "", datasetNow)
		if got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", path, got, err, want)
		}
	}
	for path, want := range map[string]string{"/circle": "read before", "/away": "is on elsewhere", "/number2": "no address", "/second": "404"} {
		got, err := observe.Datasets{}.Read(t.Context(), desired.Input{HTTP: &desired.Catalogue{URL: web + path, Items: "files", Next: "next"}}, "", datasetNow)
		if got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", path, got, err, want)
		}
	}
}

// An answer that ends before its length is cut, whatever it says.
func TestDatasetOfACutAnswerIsAnError(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/count") {
			fmt.Fprint(w, "1\n")
			return
		}
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "a.root\t1\t2\t3\n")
	}))
	defer web.Close()
	for _, in := range []desired.Input{{HTTP: &desired.Catalogue{URL: web.URL}}, {SAM: &desired.SAM{URL: web.URL, Definition: "raw"}}} {
		if got, err := (observe.Datasets{}).Read(t.Context(), in, "", datasetNow); got != nil || err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// station speaks as SAM's web service does: a number for count, lines of name, id, size and events for list.
func station(t *testing.T, asked *[]string, count string) string {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+r.Form.Get("dims"))
		if strings.HasSuffix(r.URL.Path, "/count") {
			fmt.Fprintln(w, count)
			return
		}
		if r.Form.Get("format") != "plain" || r.Form.Get("fileinfo") != "1" {
			t.Errorf("asked for %s", r.URL)
		}
		fmt.Fprint(w, "raw_run00102.root\t17\t2048\t10\nraw_run00101.root\t16\t1024\t9\n")
	}))
	t.Cleanup(web.Close)
	return web.URL + "/sam/minerva/api"
}

func TestDatasetOfSAM(t *testing.T) {
	want := []observed.Input{{Name: "raw_run00101.root", Run: 101, Size: 1024}, {Name: "raw_run00102.root", Run: 102, Size: 2048}}
	long := "run_number " + strings.Repeat("1, ", 400) + "2"
	for _, c := range []struct {
		sam     desired.SAM
		project string
		asked   string
	}{
		{desired.SAM{Definition: "raw data"}, "", "GET /sam/minerva/api/definitions/name/raw data/files/list "},
		{desired.SAM{Dimensions: "run_number 101-102"}, "", "GET /sam/minerva/api/files/list run_number 101-102"},
		{desired.SAM{Dimensions: long}, "", "POST /sam/minerva/api/files/list " + long},
		{desired.SAM{Definition: "raw"}, "stage_1", "GET /sam/minerva/api/files/list ( defname: raw ) and project_name stage_1 and consumed_status consumed"},
	} {
		var asked []string
		c.sam.URL = station(t, &asked, "2")
		got, err := observe.Datasets{}.Read(t.Context(), desired.Input{SAM: &c.sam}, c.project, datasetNow)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if len(asked) != 2 || asked[1] != c.asked {
			t.Errorf("asked %q, want %q", asked, c.asked)
		}
	}
}

// A list with fewer files than SAM has counted was cut.
func TestDatasetOfSAMIsWhole(t *testing.T) {
	for count, want := range map[string]string{"3": "2 files of 3", "x": "no number", "": "no number"} {
		var asked []string
		sam := desired.SAM{URL: station(t, &asked, count), Definition: "raw"}
		got, err := observe.Datasets{}.Read(t.Context(), desired.Input{SAM: &sam}, "", datasetNow)
		if got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %s", count, got, err, want)
		}
	}
}

func TestDatasetOfAGlob(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"raw/2026/run-101.raw", "raw/2026/run-102.raw", "raw/2025/run-7.raw", "raw/2026/notes.txt", "raw/2026/.hidden.raw", "raw/2026/sub.raw/x", "other/run-1.raw"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("four"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := datasetNow.Add(-time.Hour)
	for _, name := range []string{"raw/2026/run-101.raw", "raw/2025/run-7.raw"} {
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	d := observe.Datasets{Folders: []string{dir + "/nothing", dir + "/raw"}}
	got, err := d.Read(t.Context(), desired.Input{Glob: dir + "/raw/20*/run-*.raw", Settle: "30m"}, "", datasetNow)
	if want := []string{dir + "/raw/2025/run-7.raw", dir + "/raw/2026/run-101.raw"}; err != nil || cmp.Diff(want, namesOf(got)) != "" {
		t.Fatalf("%v, %v", err, got)
	}
	if got[1].Run != 101 || got[1].Size != 4 || !got[1].Time.Equal(at) {
		t.Errorf("%+v", got[1])
	}
	if got, err := d.Read(t.Context(), desired.Input{Glob: dir + "/raw/*/nothing"}, "", datasetNow); err != nil || len(got) != 0 {
		t.Errorf("nothing matches: %v, %v", got, err)
	}
	for glob, want := range map[string]string{dir + "/other/*.raw": "may look into", dir + "/raw/../other/*.raw": "may look into", dir + "/nothing/*": "no such file",
		dir + "/raw/2024/run-*.raw": "no such file", dir + "/raw/2024/*/x.raw": "no such file", dir + "/raw/2024/x.raw": "no such file", dir + "/raw/2026/notes.txt/*": "no folder"} {
		if got, err := d.Read(t.Context(), desired.Input{Glob: glob}, "", datasetNow); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", glob, got, err, want)
		}
	}
	if err := os.Symlink("../../other", filepath.Join(dir, "raw/2027")); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(t.Context(), desired.Input{Glob: dir + "/raw/*/run-*.raw"}, "", datasetNow); got != nil || err == nil {
		t.Errorf("a link out of the folder was followed: %v", got)
	}
}

func TestDatasetOfACommand(t *testing.T) {
	script := func(text string) desired.DatasetsCommand {
		return desired.DatasetsCommand{Command: []string{"/bin/sh", "-c", text, "list"}, Timeout: "2s"}
	}
	d := observe.Datasets{Commands: map[string]desired.DatasetsCommand{
		"good": script(`printf '%s\n' b "$@" "" a; echo said >&2`), "none": script(":"), "bad": script("echo a; echo broken >&2; exit 3"), "slow": script("echo a; sleep 60"), "mute": script("exit 3"),
		"child": script("sleep 60 & echo a; wait"),
	}}
	got, err := d.Read(t.Context(), desired.Input{Command: &desired.DatasetCommand{Name: "good", Arguments: []string{"c d"}}}, "", datasetNow)
	if diff := cmp.Diff([]string{"a", "b", "c d"}, namesOf(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := d.Read(t.Context(), desired.Input{Command: &desired.DatasetCommand{Name: "none"}}, "", datasetNow); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	for name, want := range map[string]string{"bad": "command bad: exit status 3: broken", "mute": "command mute: exit status 3", "slow": "does not end within 2s", "child": "does not end within 2s", "gone": `no command "gone"`} {
		if got, err := d.Read(t.Context(), desired.Input{Command: &desired.DatasetCommand{Name: name}}, "", datasetNow); got != nil || err == nil || !strings.Contains(err.Error(), want) || strings.HasSuffix(err.Error(), ": ") {
			t.Errorf("%s: %v, %v, want %s", name, got, err, want)
		}
	}
}

func TestDatasetOfFiles(t *testing.T) {
	got, err := observe.Datasets{}.Read(t.Context(), desired.Input{Files: []string{"x/run_12.raw", "RUN0013", "prune-5", "a"}}, "", datasetNow)
	want := []observed.Input{{Name: "RUN0013", Run: 13}, {Name: "a"}, {Name: "prune-5"}, {Name: "x/run_12.raw", Run: 12}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if got, err := (observe.Datasets{}).Read(ctx, desired.Input{Files: []string{"a"}}, "", datasetNow); got != nil || err == nil {
		t.Errorf("after the end of the context: %v, %v", got, err)
	}
}
