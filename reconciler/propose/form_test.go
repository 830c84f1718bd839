package propose_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// filled is a form with answers below its questions.
func filled(answers map[string]string) string {
	text := propose.Form("grid-1")
	for title, answer := range answers {
		text = strings.Replace(text, "## "+title+"\n", "## "+title+"\n"+answer+"\n", 1)
	}
	return text
}

func TestAFormReadsBack(t *testing.T) {
	f, err := propose.ReadForm("grid-1", strings.ReplaceAll(filled(map[string]string{
		"Who are you?": "user@example.org", "Rating": " 4 ", "What did you do with it?": "a thousand jobs\n\nand ## more", "What was worse, or went wrong?": "nothing",
	}), "\n", "\r\n"))
	want := propose.Feedback{By: "user@example.org", Rating: 4, Text: "What did you do with it?\na thousand jobs\n\nand ## more\n\nWhat was worse, or went wrong?\nnothing"}
	if err != nil || f != want {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestFormsThatSayNothing(t *testing.T) {
	for text, want := range map[string]string{
		propose.Form("grid-1"): "nothing is answered", propose.Form("grid-2"): "no form about pilot grid-1", "": "no form about",
		filled(map[string]string{"Rating": "good"}): `malformed rating "good"`, filled(map[string]string{"Rating": "6"}): "malformed rating",
	} {
		if _, err := propose.ReadForm("grid-1", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzReadForm(f *testing.F) {
	f.Add(filled(map[string]string{"Rating": "4"}))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := propose.ReadForm("grid-1", text)
		if err == nil && (got.Text == "" || got.Rating < 0 || got.Rating > 5) {
			t.Errorf("%+v", got)
		}
	})
}
