package submit

import (
	"slices"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

func TestWorkThatIsFitLacksNoOtherTask(t *testing.T) {
	w := Work{Site: "s", Job: desired.Job{Argv: []string{"/bin/echo", "${params.run}"}}}
	for _, id := range []string{"a", "b", "c"} {
		task := Task{Slice: observed.Slice{ID: id}, Params: map[string]string{"run": id}}
		if id == "b" {
			task.Params = nil
		}
		w.Tasks = append(w.Tasks, task)
	}
	fit, unfit := w.Fit()
	ids := []string{}
	for _, task := range fit.Tasks {
		ids = append(ids, task.Slice.ID)
	}
	if len(unfit) != 1 || unfit[0].Task.Slice.ID != "b" || unfit[0].Why == nil || !slices.Equal(ids, []string{"a", "c"}) || len(w.Tasks) != 3 {
		t.Errorf("fit %v, unfit %+v", ids, unfit)
	}
}
