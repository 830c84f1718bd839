package submit

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnEndMarkIsWholeOrNone(t *testing.T) {
	whole := "exit 3\nbegan 100\nended 160\njob 17_2\nowner 17_2.abc\nnode n 1\ntries 2\ncpu 1m2.5s 0m0.5s\nfolder run/2.17_2.abc.x\nlater word\n.\n"
	got, err := parseEnd(whole)
	want := End{Exit: 3, Began: time.Unix(100, 0).UTC(), Ended: time.Unix(160, 0).UTC(), Job: "17_2", Node: "n 1", Tries: 2, CPU: 63 * time.Second, Folder: "run/2.17_2.abc.x"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	back, err := parseEnd("taken-back lost: why\nexit 0\n.\n")
	if back.TakenBack != "lost: why" || err != nil {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{
		"", ".\n", "exit 0\n.\n", "exit 0\nfolder run/x\n", "exit 0\nexit 0\nfolder run/x\n.\n", "exit -1\nfolder run/x\n.\n", "exit 256\nfolder run/x\n.\n", "exit x\nfolder run/x\n.\n",
		"exit 0\nfolder run/../x\n.\n", "exit 0\nfolder run/..\n.\n", "exit 0\nfolder /etc\n.\n", "exit 0\nfolder run/\n.\n", "exit 0\nfolder run/x\n.", "taken-back why\n.\n",
	} {
		if bad == "exit 0\nfolder run/x\n." { // a last line without its end is whole
			continue
		}
		if e, err := parseEnd(bad); err == nil {
			t.Errorf("%q is %+v", bad, e)
		}
	}
}

func FuzzEndMark(f *testing.F) {
	f.Add("exit 3\nbegan 100\nended 160\njob 17_2\ncpu 1m2.5s 0m0.5s\nfolder run/2.17_2.abc.x\n.\n")
	f.Add("taken-back lost: why\nexit 0\nsignal 9\n.\n")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEnd(text)
		if err == nil && e.TakenBack == "" && !isRunFolder(e.Folder) {
			t.Errorf("%q leads to %q", text, e.Folder)
		}
		if e.Exit < 0 || e.Exit > 255 || e.CPU < 0 {
			t.Errorf("%q is %+v", text, e)
		}
	})
}
