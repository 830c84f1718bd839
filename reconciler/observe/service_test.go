package observe_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observe"
)

func TestServicesAreSampled(t *testing.T) {
	status := 200
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer web.Close()
	now := time.Now()
	for _, c := range []struct {
		source observe.ServiceSource
		status int
		why    string
	}{
		{observe.ServiceSource{Name: "a", URL: web.URL}, 200, ""},
		{observe.ServiceSource{Name: "a", URL: web.URL}, 503, "503 Service Unavailable"},
		{observe.ServiceSource{Name: "a", URL: "http://127.0.0.1:1/"}, 200, "refused"},
		{observe.ServiceSource{Name: "a", Command: []string{"/bin/true"}}, 200, ""},
		{observe.ServiceSource{Name: "a", Command: []string{"/bin/sh", "-c", "echo tape robot stuck; exit 3"}}, 200, "exit status 3: tape robot stuck"},
		{observe.ServiceSource{Name: "a", Command: []string{"/nowhere"}}, 200, "no such file"},
	} {
		status = c.status
		s := c.source.Sample(t.Context(), now)
		if s.Well != (c.why == "") || !strings.Contains(s.Why, c.why) || !s.At.Equal(now) || s.Name != "a" {
			t.Errorf("%+v: %+v, want %q", c.source, s, c.why)
		}
	}
}
