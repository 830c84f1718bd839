package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	wire "github.com/pomona-gitops/pomona/reconciler/report"
)

// catalogues are a catalogue in JSON and a SAM station, which speaks as samweb's servers do: a number for count, and lines of name, id, size
// and number of events for list.
type catalogues struct {
	url   string
	mu    sync.Mutex
	files []string
	fault string // none, down, cut or garbage
	posts int    // dimensions that came in a body
}

func newCatalogues(t *testing.T) *catalogues {
	c := &catalogues{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /files", c.list)
	mux.HandleFunc("GET /sam/api/definitions/name/{name}/files/{what}", func(w http.ResponseWriter, r *http.Request) {
		c.sam(w, r.PathValue("name") == "raw 2026", r.PathValue("what"))
	})
	mux.HandleFunc("/sam/api/files/{what}", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		if r.Method == http.MethodPost {
			c.posts++
		}
		c.mu.Unlock()
		dims := r.FormValue("dims")
		c.sam(w, strings.HasPrefix(dims, "data_tier raw") && (len(dims) < 1024) == (r.Method == http.MethodGet), r.PathValue("what"))
	})
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	c.url = web.URL
	return c
}

// are has them list some files, or fail.
func (c *catalogues) are(fault string, files ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault, c.files = fault, files
}

// sick answers as a fault has it; false: there is none.
func (c *catalogues) sick(w http.ResponseWriter) bool {
	switch c.fault {
	case "down":
		http.Error(w, "tape robot stuck", http.StatusServiceUnavailable)
	case "garbage":
		fmt.Fprint(w, "<!doctype html><title>Please log in</title>")
	default:
		return false
	}
	return true
}

// list answers two files in a page.
func (c *catalogues) list(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sick(w) {
		return
	}
	page, _ := strconv.Atoi(r.FormValue("page")) // the first has no number
	var answer struct {
		Data []map[string]string `json:"data"`
		Next string              `json:"next,omitempty"`
	}
	for i := 2 * page; i < min(2*page+2, len(c.files)); i++ {
		answer.Data = append(answer.Data, map[string]string{"file": c.files[i], "at": c.files[i]}) // some files are named by their time
	}
	if 2*page+2 < len(c.files) {
		answer.Next = fmt.Sprintf("?page=%d", page+1)
	}
	b, _ := json.Marshal(answer)
	if c.fault == "cut" && page > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(b))) // and then the line is dead
		b = b[:len(b)/2]
	}
	_, _ = w.Write(b)
}

func (c *catalogues) sam(w http.ResponseWriter, known bool, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !known:
		http.Error(w, "no such definition", http.StatusNotFound)
	case c.sick(w):
	case what == "count":
		fmt.Fprintln(w, len(c.files))
	case what == "list":
		files := c.files
		if c.fault == "cut" {
			files = files[:len(files)/2]
		}
		for i, name := range files {
			fmt.Fprintf(w, "%s\t%d\t1000\t10\n", name, i)
		}
	default:
		http.NotFound(w, nil)
	}
}

// keptUp is a service whose campaigns keep up with datasets.
type keptUp struct {
	*seen
	*catalogues
	t                   *testing.T
	raw, listed, worked string
	live                []string // campaigns whose data still comes in
}

// keepUp starts it, with all catalogues down.
func keepUp(t *testing.T) *keptUp {
	t.Helper()
	c := &configured{file: filepath.Join(t.TempDir(), "pomona.cue"), sites: map[string]world{"one": newWorld(t)}, addrs: map[string]string{"admin": freeAddress(t), "one": freeAddress(t)}}
	k := &keptUp{seen: &seen{world: c.sites["one"], t: t, url: "http://" + freeAddress(t)}, catalogues: newCatalogues(t), t: t, live: []string{"command", "glob", "http", "sam", "sam-dims", "sam-long"}}
	k.raw, k.listed, k.worked = filepath.Join(k.dir, "raw"), filepath.Join(k.dir, "listed"), filepath.Join(k.dir, "worked")
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(k.dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	k.client = file("pomona-submissions", must(t, "campaign", "script", "client"), 0o755)
	file("agent", "report-0123456789abcdef\n", 0o600)
	c.write(t, []string{"one"}, fmt.Sprintf("\t\tdatasets: {folders: [%q], interval: \"2s\", commands: list: command: [%q]}\n\t\tsubmissions: {listen: %q, tokens: %q}\n",
		k.dir, file("list", "#!/bin/sh\ncat "+k.listed+"; test ! -e "+k.listed+".bad || { echo no ticket >&2; exit 3; }\n", 0o755),
		strings.TrimPrefix(k.seen.url, "http://"), file("tokens", "agent report-0123456789abcdef report\n", 0o600)))
	k.write("keepup.cue", fmt.Sprintf(`package site

_inputs: {
	command:    command: name: "list"
	glob:       glob: "%[1]s/*.raw"
	http:       http: {url: "%[2]s/files", items: "data", name: "file", next: "next"}
	sam:        sam: {url: "%[2]s/sam/api", definition: "raw 2026"}
	"sam-dims": sam: {url: "%[2]s/sam/api", dimensions: "data_tier raw"}
	"sam-long": sam: {url: "%[2]s/sam/api", dimensions: "data_tier raw and run_number %[3]s"}
}

_work: {
	reason:    "to keep up"
	requester: "ann@example.org"
	state:     string | *"active"
	stages: work: {
		input: _
		split: {type: "drain", n: 1}
		job: {argv: ["/bin/sh", "-c", "sed \"s,^.*/,,; s/^/$POMONA_CAMPAIGN /\" ${inputs} >> %[4]s"], resources: memory: "64MiB"}
	}
}
_state: string | *"active"

for name, from in _inputs {
	campaigns: "\(name)": _work & {state: _state, stages: work: input: from & {live: true}}
}
campaigns: once: _work & {stages: work: {input: _inputs.http}}
`, k.raw, k.catalogues.url, strings.Repeat("1,", 600), k.worked), 0o644)
	k.commit("campaigns that keep up")
	c.service = serveFile(t, c.file)
	t.Cleanup(func() {
		if err := c.end(syscall.SIGTERM); err != nil {
			t.Errorf("pomona serve ends with %v", err)
		}
		if t.Failed() {
			t.Logf("%s", c.log())
		}
	})
	return k
}

// are has all datasets have some files, or fail: then the folder is not there, and the command fails when it has said half.
func (k *keptUp) are(fault string, files ...string) {
	k.t.Helper()
	k.catalogues.are(fault, files...)
	for _, dir := range []string{k.raw, k.raw + ".gone"} {
		if err := os.RemoveAll(dir); err != nil {
			k.t.Fatal(err)
		}
	}
	_ = os.Remove(k.listed + ".bad") // if it is there
	dir, listed := k.raw, files
	if fault != "" {
		dir, listed = k.raw+".gone", files[:len(files)/2]
		k.put(k.listed+".bad", "")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		k.t.Fatal(err)
	}
	for _, name := range files {
		k.put(filepath.Join(dir, name), "data")
	}
	k.put(k.listed+".new", strings.Join(listed, "\n")+"\n")
	if err := os.Rename(k.listed+".new", k.listed); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keptUp) put(file, content string) {
	k.t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

// done are the inputs that a campaign's jobs have worked on, as often as they have.
func (k *keptUp) done(name string) (files []string) {
	b, err := os.ReadFile(k.worked)
	if err != nil && !os.IsNotExist(err) {
		k.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if campaign, file, _ := strings.Cut(strings.TrimSpace(line), " "); campaign == name {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	return files
}

// says waits until people are told something of a campaign.
func (k *keptUp) says(name, want string) {
	k.t.Helper()
	eventually(k.t, name+" says "+want, func() bool { return strings.Contains(must(k.t, "campaign", name, "--root", k.root), want) })
}

// keepsUp waits until each campaign has worked on some files, each once.
func (k *keptUp) keepsUp(files ...string) {
	k.t.Helper()
	for _, name := range k.live {
		eventually(k.t, name+" keeps up", func() bool { return len(k.done(name)) >= len(files) })
		if got := k.done(name); !slices.Equal(got, files) {
			k.t.Errorf("%s has worked on %v, want %v", name, got, files)
		}
	}
}

// TestCampaignsKeepUpWithTheirDatasets works on each file once, whatever becomes of catalogues meanwhile: one that cannot be read whole is
// no small nor an empty one.
func TestCampaignsKeepUpWithTheirDatasets(t *testing.T) {
	t.Parallel()
	k := keepUp(t)
	first := []string{"run-1.raw", "run-2.raw", "run-3.raw"}
	k.are("down", first...)
	eventually(t, "it is served", func() bool { _, _, code := pomona(t, "campaign", "once", "--root", k.root); return code == 0 })
	for name, want := range map[string]string{
		"once": "503", "http": "503", "sam": "503", "sam-dims": "503", "sam-long": "503", "glob": "no such file or directory", "command": "exit status 3: no ticket",
	} {
		k.says(name, want)
		if c := k.campaign(name); c.State != "active" || len(c.Stages[0].Slices) != 0 {
			t.Errorf("%s has not read its dataset: %+v", name, c)
		}
	}
	if list := must(t, "campaign", "--root", k.root); !strings.Contains(list, "no slices can be planned of work") {
		t.Errorf("list:\n%s", list)
	}
	k.are("", first...)
	k.keepsUp(first...)
	if c := k.reaches("once", "complete"); c.Stages[0].Slices[observed.SliceComplete] != 3 || k.posts == 0 {
		t.Errorf("%+v, %d asked in a body", c, k.posts)
	}

	more := append(slices.Clone(first), "run-4.raw", "run-5.raw")
	for fault, texts := range map[string][2]string{
		"cut": {"unexpected EOF", "the list has 2 files of 5"}, "garbage": {"the answer is no JSON", "the answer is no number"}, "down": {"503", "503"},
	} {
		k.are(fault, more...)
		k.says("http", texts[0])
		for _, name := range []string{"sam", "sam-dims", "sam-long"} {
			k.says(name, texts[1])
		}
		k.says("glob", "no such file or directory")
		k.says("command", "no ticket")
		k.keepsUp(first...)
	}
	k.are("", more...)
	k.keepsUp(more...)
	k.are("") // every file has gone; what was done stays done
	k.are("", append(more, "run-6.raw")...)
	k.keepsUp(append(more, "run-6.raw")...)

	k.write("state.cue", "package site\n\n_state: \"draining\"\n", 0o644)
	k.commit("no more comes")
	for _, name := range k.live {
		if c := k.reaches(name, "complete"); c.Stages[0].Slices[observed.SliceComplete] != 6 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	k.keepsUp(append(more, "run-6.raw")...)

	k.othersMakeSlices(t)
	k.splits(t)
}

// othersMakeSlices has an agent make slices until it says that no more come.
func (k *keptUp) othersMakeSlices(t *testing.T) {
	k.write("given.cue", fmt.Sprintf(`package site

campaigns: given: {
	reason:    "an agent knows best"
	requester: "ann@example.org"
	state:     "active"
	stages: {
		work: {
			split: type: "external"
			completion: timeout: "5s"
			job: {argv: ["/bin/sh", "-c", "cat ${inputs} >> %[1]s.given"], resources: memory: "64MiB"}
		}
		sum: {needs: work: join: "all", job: {argv: ["/bin/sh", "-c", "wc -l < %[1]s.given > %[1]s.sum"], resources: memory: "64MiB"}}
	}
}
`, k.worked), 0o644)
	k.commit("a campaign whose slices others make")
	eventually(t, "it takes slices", func() bool { _, code := k.ask("agent", "a.raw\n", "slice", "given", "work", "a"); return code == 0 })
	for _, id := range []string{"a", "b"} {
		if out, code := k.ask("agent", id+".raw\n", "slice", "given", "work", id); code != 0 {
			t.Fatalf("%d: %s", code, out)
		}
	}
	eventually(t, "both slices are complete", func() bool { return k.campaign("given").Stages[0].Slices[observed.SliceComplete] == 2 })
	k.says("given", "no slice has come since")
	if c := k.campaign("given"); c.State != "active" || c.Stages[0].State != "open" || !c.Stages[0].Late || c.Stages[1].State != "waiting" {
		t.Errorf("nobody has said that no more come: %+v", c)
	}
	for range 2 { // once more changes nothing
		if out, code := k.ask("agent", "", "end", "given", "work"); code != 0 || !strings.Contains(out, "said") {
			t.Fatalf("%d: %s", code, out)
		}
		k.reaches("given", "complete")
	}
	if b, err := os.ReadFile(k.worked + ".sum"); err != nil || strings.TrimSpace(string(b)) != "2" {
		t.Errorf("sum %q, %v", b, err)
	}
	if out, code := k.ask("agent", "c.raw\n", "slice", "given", "work", "c"); code != 1 {
		t.Errorf("a slice comes after the end: %d: %s", code, out)
	}
	if text := must(t, "campaign", "given", "--root", k.root); !strings.Contains(text, "ended work by agent") {
		t.Errorf("decisions:\n%s", text)
	}
}

// splits has one campaign whose stages are cut in every way. Its slices stay planned, but of the stages whose outputs others cut.
func (k *keptUp) splits(t *testing.T) {
	k.write("splits.cue", `package site

_files: ["/d/a-1.x", "/d/a-2.x", "/d/b-1.x", "/d/run-7_1.y", "/d/run-7_2.y", "/d/run-8.y", "/d/run-9.y"]
_cuts: {
	all:      {type: "none"}
	list:     {type: "list", items: ["one", "two"]}
	matrix:   {type: "matrix", params: {gain: [1, 2], field: ["up", "down"]}}
	modulo:   {type: "modulo", n: 3}
	files:    {type: "files", n: 3}
	drain:    {type: "drain", n: 5}
	sample:   {type: "sample", n: 2}
	existing: {type: "existing-runs"}
	runs:     {type: "runs", low: 8, high: 9}
	tags:     {type: "tags", tags: {a: "*/a-*", b: "*/b-*"}, catchAll: "rest"}
	untagged: {type: "tags", tags: {a: "*/a-*", b: "*/b-*"}}
	bytes:    {type: "merge", n: 4}
	windows:  {type: "window", width: "1d", timeZone: "Europe/Berlin"}
}
_job: {argv: ["true"], resources: memory: "64MiB"}

campaigns: splits: {
	reason:    "every split"
	requester: "ann@example.org"
	state:     "active"
	stages: {
		for name, cut in _cuts {
			"\(name)": {split: cut, job: _job, if name != "list" {input: {if name == "windows" {http: {url: "`+k.catalogues.url+`/files", items: "data", name: "file", time: "at", next: "next"}}, if name != "windows" {files: _files}}}}
		}
		numbers: {type: "generator", split: {type: "runs", low: 3, high: 5}, job: _job}
		make: {
			input: files: ["p", "q", "r"]
			split: {type: "files", n: 1}
			job: {argv: ["/bin/sh", "-c", "for i in 1 2; do echo > $1/$POMONA_SLICE-$i.out; done", "make", "${outputs}"], resources: memory: "64MiB", outputs: out: {pattern: "*.out", perInput: 2}}
		}
		each:      {needs: make: join: "each", job: _job}
		"each-1":  {needs: make: join: "each", split: {type: "files", n: 1}, job: _job}
		resplit:   {needs: make: {}, split: {type: "resplit", n: 4}, job: _job}
		merge:     {needs: make: {}, split: {type: "merge", n: 5}, job: _job}
		together:  {needs: make: join: "all", job: _job}
	}
}
for name in [for n, _ in _cuts {n}, "numbers", "each", "each-1", "resplit", "merge", "together"] {
	holds: "splits-\(name)": {scope: "campaigns.splits/\(name)", reason: "only cut", until: "`+time.Now().AddDate(0, 1, 0).Format(time.DateOnly)+`"}
}
`, 0o644)
	k.catalogues.are("", "2026-10-24T23:30:00Z", "2026-10-25T22:30:00Z", "2026-10-25T23:30:00Z")
	k.commit("every split")
	want := map[string]string{
		"all": "7", "list": "1 1", "matrix": "7 7 7 7", "modulo": "2 2 3", "files": "1 3 3", "drain": "2 5", "sample": "2", "existing": "1 1 2 3", "runs": "1 1 3",
		"tags": "1 2 4", "untagged": "1 2 4", "bytes": "3 4", "windows": "1 2", "numbers": "0 0 0", "make": "", "each": "2 2 2", "each-1": "1 1 1 1 1 1", "resplit": "2 4", "merge": "1 5", "together": "6",
	}
	sizes := func(c wire.Campaign) map[string]string {
		out := map[string]string{}
		for _, stage := range c.Stages {
			var n []int
			for _, s := range stage.Open {
				n = append(n, s.Inputs)
			}
			slices.Sort(n)
			out[stage.Name] = strings.Trim(fmt.Sprint(n), "[]")
		}
		return out
	}
	var got map[string]string
	eventually(t, "every stage is cut", func() bool {
		if !k.is("splits", "active") {
			return false
		}
		got = sizes(k.campaign("splits"))
		return got["together"] != "" && got["merge"] == want["merge"] && got["resplit"] == want["resplit"]
	})
	for name, n := range want {
		if got[name] != n {
			t.Errorf("stage %s has slices of %q inputs, want %q", name, got[name], n)
		}
	}
	ids := func(name string) (ids []string) {
		for _, stage := range k.campaign("splits").Stages {
			for _, s := range stage.Open {
				if stage.Name == name {
					ids = append(ids, s.ID+" "+string(s.State))
				}
			}
		}
		return ids
	}
	for name, want := range map[string][]string{
		"all": {"all planned"}, "existing": {"run-7 planned", "run-8 planned", "run-9 planned", "stray late"}, "windows": {"2026-10-25 planned", "2026-10-26 planned"}, "tags": {"a planned", "b planned", "rest planned"},
		"untagged": {"a planned", "b planned", "stray late"}, "numbers": {"run-3 planned", "run-4 planned", "run-5 planned"},
	} {
		if got := ids(name); !slices.Equal(got, want) {
			t.Errorf("stage %s has %v, want %v", name, got, want)
		}
	}
	k.write("splits.cue", "package site\n", 0o644)
	k.commit("without that campaign")
}
