package sitetemplate_test

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	sitetemplate "github.com/pomona-gitops/pomona/site-template"
)

// TestTheSiteIsOfToday, whenever that is: facts are not old, and nothing has ended.
func TestTheSiteIsOfToday(t *testing.T) {
	day := regexp.MustCompile(`(asOf|until|expires): +"(\d{4}-\d{2}-\d{2})"`)
	for _, now := range []time.Time{time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), time.Date(2027, 5, 21, 0, 0, 0, 0, time.UTC), time.Date(2041, 2, 3, 0, 0, 0, 0, time.UTC)} {
		seen := 0
		err := fs.WalkDir(sitetemplate.FS, ".", func(name string, _ fs.DirEntry, err error) error {
			if err != nil || path.Ext(name) != ".cue" {
				return err
			}
			b, err := fs.ReadFile(sitetemplate.FS, name)
			if err != nil {
				return err
			}
			for _, m := range day.FindAllStringSubmatch(string(sitetemplate.Today(b, now)), -1) {
				seen++
				at, err := time.Parse(time.DateOnly, m[2])
				if err != nil {
					return err
				}
				if ahead := at.Sub(now).Hours() / 24; m[1] == "asOf" && (ahead > 1 || ahead < -92) || m[1] != "asOf" && (ahead < 200 || ahead > 366) {
					t.Errorf("on %s, %s: %s", now.Format(time.DateOnly), name, m[0])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if seen != 6 {
			t.Errorf("%d days", seen)
		}
	}
}

// TestTheReadmeNamesEveryFolder that a person may write to.
func TestTheReadmeNamesEveryFolder(t *testing.T) {
	readme, err := fs.ReadFile(sitetemplate.FS, "README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := fs.ReadDir(sitetemplate.FS, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.IsDir() && e.Name() != "cue.mod" && !strings.HasPrefix(e.Name(), ".") && !strings.Contains(string(readme), "| `"+e.Name()+"/` |") {
			t.Errorf("it does not name %s/", e.Name())
		}
	}
}
