package serve_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/serve/browsertest"
)

const docs = "../../docs"

// pictures are those that the manual shows, by the page of a small site.
var pictures = map[string]string{
	"fleet": "", "fec": "fecs/scuxl00001", "passes": "passes", "pull-request": "plans/1", "restarts": "restarts", "campaign": "campaigns/orbit~1", "software": "software/bpm", "pilots": "pilots",
}

// TestPicturesOfTheManual: each that it shows is there, and shown. With POMONA_PICTURES they are made anew: make pictures.
func TestPicturesOfTheManual(t *testing.T) {
	if os.Getenv("POMONA_PICTURES") != "" {
		seen, paths := seenOf(siteSmall)
		s := looking(t, seen, nil)
		tab := browsertest.Open(t).Tab(t)
		tab.Through(browsertest.Screen{Width: 1000, Height: 640})
		for name, path := range pictures {
			if !slices.Contains(paths, path) {
				t.Errorf("picture %s: nobody looks at page %q", name, path)
			}
			tab.Go(s.URL + "/ring/" + path)
			tab.SmallPicture(filepath.Join(docs, "pictures", name+".png"), 640)
		}
	}
	shown := map[string]bool{}
	texts, err := filepath.Glob(docs + "/*.md")
	if err != nil || len(texts) == 0 {
		t.Fatalf("find the manual: %v", err)
	}
	for _, file := range texts {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`!\[([^\]]*)\]\(([^)]*)\)`).FindAllStringSubmatch(string(b), -1) {
			name, _ := strings.CutSuffix(strings.TrimPrefix(found[2], "pictures/"), ".png")
			shown[name] = true
			info, err := os.Stat(filepath.Join(docs, found[2]))
			switch {
			case err != nil:
				t.Errorf("%s: %v: make pictures", file, err)
			case info.Size() > 100_000:
				t.Errorf("%s is large: %d bytes", found[2], info.Size())
			case found[1] == "":
				t.Errorf("%s: nobody is told what %s shows", file, found[2])
			}
			if _, made := pictures[name]; !made {
				t.Errorf("%s: nobody makes %s", file, found[2])
			}
		}
	}
	for name := range pictures {
		if !shown[name] {
			t.Errorf("no guide shows picture %s", name)
		}
	}
}
