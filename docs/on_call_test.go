package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/docs"
)

// TestWhoeverIsWokenIsToldWhatToDo: the guide has a line for each alarm that is shipped.
func TestWhoeverIsWokenIsToldWhatToDo(t *testing.T) {
	rules, err := docs.FS.ReadFile("monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("on-call.md")
	if err != nil {
		t.Fatal(err)
	}
	alarms := regexp.MustCompile(`(?m)alert: (\w+)$`).FindAllSubmatch(rules, -1)
	if len(alarms) == 0 {
		t.Fatal("no alarm is shipped")
	}
	for _, a := range alarms {
		if !strings.Contains(string(guide), "`"+string(a[1])+"`") {
			t.Errorf("on-call.md says nothing of %s", a[1])
		}
	}
}
