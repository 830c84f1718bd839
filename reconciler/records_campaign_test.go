package reconciler

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// filled is a value whose every field says something of its own.
func filled[T any](t *testing.T) (v T) {
	t.Helper()
	fields := reflect.ValueOf(&v).Elem()
	for i := range fields.NumField() {
		f, n := fields.Field(i), i+1
		switch f.Interface().(type) {
		case bool:
			f.SetBool(true)
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(int64(n), 0)))
		case []string:
			f.Set(reflect.ValueOf([]string{"a"}))
		case map[string]string:
			f.Set(reflect.ValueOf(map[string]string{"a": "b"}))
		default:
			if f.Kind() == reflect.String {
				f.SetString(fields.Type().Field(i).Name)
			} else {
				f.SetInt(int64(n))
			}
		}
	}
	return v
}

func TestTheLedgerKeepsEveryFieldOfCampaigns(t *testing.T) {
	slice, launch, submission := filled[observed.Slice](t), filled[observed.Launch](t), filled[observed.Submission](t)
	if d := cmp.Diff(slice, observedSlice(ledgerSlice(slice))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(launch, observedLaunch(ledgerLaunch(launch))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(submission, observedSubmission(ledgerSubmission(submission))); d != "" {
		t.Error(d)
	}
}
