package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// program is an engine whose program does what a script says; its verb is $1, and what it reads goes to the file read.
func program(t *testing.T, script string) (c Command, folder string) {
	t.Helper()
	folder = t.TempDir()
	file := filepath.Join(folder, "engine")
	if err := os.WriteFile(file, []byte("#!/bin/sh\ncat >"+folder+"/read\nshift\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Command{Program: []string{file, "first argument"}}, folder
}

func TestAProgramReadsDocuments(t *testing.T) {
	c, folder := program(t, `echo "$1" >>`+"`dirname $0`"+`/verbs; echo '{"jobs": []}'`)
	since := time.Date(2026, 10, 1, 12, 0, 0, 5000, time.FixedZone("", 7200))
	l := Launch{Key: "pom-a", Folder: "/f", Script: "/f/job.sh", Tasks: 3, AtOnce: 2, Account: "a", Partition: "p", QOS: "q", Options: []string{"-x"}, Comment: "why",
		Resources: Resources{Memory: 1 << 30, Time: 1500 * time.Millisecond}}
	for _, s := range []struct {
		do   func() error
		want string
	}{
		{func() error { return c.Ping(t.Context()) }, `{"version":1}`},
		{func() error { _, err := c.Find(t.Context(), since, "pom-a"); return err }, `{"version":1,"since":"2026-10-01T10:00:00.000005Z","keys":["pom-a"]}`},
		{func() error { _, err := c.Find(t.Context(), since); return err }, `{"version":1,"since":"2026-10-01T10:00:00.000005Z","keys":[]}`},
		{func() error { return c.Submit(t.Context(), l) }, `{"version":1,"key":"pom-a","folder":"/f","script":"/f/job.sh","tasks":3,"atOnce":2,
			"resources":{"cpus":1,"gpus":0,"memory":1073741824,"disk":0,"time":2},"account":"a","partition":"p","qos":"q","options":["-x"],"comment":"why"}`},
		{func() error { return c.Release(t.Context(), "7", "8") }, `{"version":1,"ids":["7","8"]}`},
		{func() error { return c.Cancel(t.Context(), "7.1") }, `{"version":1,"ids":["7.1"]}`},
		{func() error { return c.Cancel(t.Context()) }, `{"version":1,"ids":["7.1"]}`}, // it is not even called
	} {
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal([]byte(read(t, folder, "read")), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(s.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("it read %s, want %s", read(t, folder, "read"), s.want)
		}
	}
	if verbs := read(t, folder, "verbs"); verbs != "ping\nfind\nfind\nsubmit\nrelease\ncancel\n" {
		t.Errorf("verbs %q", verbs)
	}
}

func TestAProgramsAnswerIsReadStrictly(t *testing.T) {
	whole := `{"certain": true, "jobs": [
		{"key": "pom-a", "id": "7", "state": "failed", "exit": 3, "reason": "why", "node": "n1", "submitted": "2026-10-01T10:00:00Z", "began": "2026-10-01T10:00:01Z", "ended": "2026-10-01T10:00:02.5Z", "cpu": 1.5, "memory": 1024},
		{"key": "pom-b", "id": "8", "task": 2, "taskID": "8_2", "state": "held"}]}`
	at := time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)
	found, err := parseAnswer([]byte(whole), wanted([]string{"pom-a"}))
	want := Job{Key: "pom-a", ID: "7", Task: 1, TaskID: "7", State: Failed, Exit: 3, Reason: "why", Node: "n1", Submitted: at, Began: at.Add(time.Second), Ended: at.Add(2500 * time.Millisecond),
		CPU: 1500 * time.Millisecond, Memory: 1024}
	if err != nil || !found.Certain || len(found.Jobs) != 1 || found.Jobs[0] != want {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = parseAnswer([]byte(whole), wanted(nil)); err != nil || len(found.Jobs) != 2 || found.Jobs[1].TaskID != "8_2" || found.Jobs[1].Task != 2 {
		t.Errorf("all: %+v, %v", found, err)
	}
	for _, bad := range []string{
		"", "{}", "[]", "null", `{"certain": true}`, `{"jobs": null}`, `{"jobs": []} {"jobs": []}`, `{"jobs": [], "certian": true}`,
		`{"jobs": [{"key": "pom-a", "state": "held"}]}`, `{"jobs": [{"id": "1", "state": "held"}]}`, `{"jobs": [{"key": "pom-a", "id": "1"}]}`,
		`{"jobs": [{"key": "pom-a", "id": "1", "state": "done"}]}`, `{"jobs": [{"key": "pom-a", "id": "1", "state": "held", "task": -1}]}`,
		`{"jobs": [{"key": "pom-a", "id": 1, "state": "held"}]}`,
	} {
		if found, err := parseAnswer([]byte(bad), wanted(nil)); err == nil {
			t.Errorf("%s: no error, but %+v", bad, found)
		}
	}
}

func TestAProgramThatFailsIsAnError(t *testing.T) {
	c, _ := program(t, `echo '{"jobs": []}'; echo 'no such queue' >&2; exit 4`)
	if found, err := c.Find(t.Context(), time.Now(), "pom-a"); err == nil || !strings.Contains(err.Error(), "no such queue") {
		t.Errorf("%+v, %v", found, err)
	}
	c, _ = program(t, `sleep 60`)
	c.Timeout = 200 * time.Millisecond
	if err := c.Submit(t.Context(), Launch{Key: "pom-a"}); err == nil || !strings.Contains(err.Error(), "what it did is unknown") {
		t.Errorf("%v", err)
	}
	// The launch's lock is the program's too: whoever waits for it waits for a program that outlives its Pomona.
	c, folder := program(t, `readlink /proc/self/fd/3 >`+"`dirname $0`"+`/lock`)
	lock, err := os.Create(filepath.Join(folder, "of-launch"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // nothing is written to it
	if err := c.Submit(t.Context(), Launch{Key: "pom-a", Lock: lock}); err != nil || read(t, folder, "lock") != lock.Name()+"\n" {
		t.Errorf("%v, %q", err, read(t, folder, "lock"))
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"certain": true, "jobs": [{"key": "pom-a", "id": "7", "state": "failed", "exit": 3}]}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		found, err := parseAnswer(out, wanted(nil))
		if err != nil && len(found.Jobs) > 0 {
			t.Errorf("an error, and %+v", found.Jobs)
		}
	})
}
