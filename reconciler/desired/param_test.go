package desired_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Parameters reach jobs as they were written, with every digit.
func TestParamsKeepTheirDigits(t *testing.T) {
	const text = `{"big":9007199254740993,"no":false,"share":0.10,"word":"a \"b\"","zero":"007"}`
	var p desired.Params
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, v := range p {
		got[name] = v.String()
	}
	if diff := cmp.Diff(map[string]string{"big": "9007199254740993", "no": "false", "share": "0.10", "word": `a "b"`, "zero": "007"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if b, err := json.Marshal(p); err != nil || string(b) != text {
		t.Errorf("%s, %v", b, err)
	}
	if v := desired.Param("x"); v.String() != "x" {
		t.Errorf("%s", v)
	}
}
