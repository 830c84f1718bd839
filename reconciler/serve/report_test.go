package serve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

const form = "application/x-www-form-urlencoded"

// post sends a report from a FEC's address.
func post(h http.Handler, from, contentType, body string) int {
	r := httptest.NewRequest(http.MethodPost, "/-/report", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestReport(t *testing.T) {
	log, text := logged()
	var have []serve.Report
	h := serve.Tree(newFixture(t).root(), serve.Options{Log: log, Reports: func(r serve.Report) { have = append(have, r) }})
	full := url.Values{
		"fec": {"kgp2cu02"}, "serial": {"29000000"}, "state": {"init-failed"}, "slot": {"29000000-ab12"},
		"detail": {"10-env: exit 1\n\x1b[31mlevel=ERROR\u202e\xff"}, "client": {"1.0.0"}, "future": {"x"},
	}.Encode()
	if code := post(h, "192.0.2.1:4711", form, full); code != http.StatusNoContent {
		t.Errorf("body: status %d, want 204", code)
	}
	r := httptest.NewRequest(http.MethodGet, "/-/report?fec=kgp2cu02&state=fetching&serial=", nil)
	r.RemoteAddr = "[::ffff:192.0.2.2]:4711"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		t.Errorf("query: status %d, want 204", w.Code)
	}
	r = httptest.NewRequest(http.MethodGet, "/-/report?fec=kgp2cu02&state=running&preview=7", nil)
	r.RemoteAddr = "[::ffff:192.0.2.2]:4711"
	h.ServeHTTP(httptest.NewRecorder(), r)
	want := []serve.Report{
		{
			FEC: "kgp2cu02", Serial: 29000000, State: serve.InitFailed, Slot: "29000000-ab12",
			Detail: "10-env: exit 1 [31mlevel=ERROR?", Client: "1.0.0", From: netip.MustParseAddr("192.0.2.1"),
		},
		{FEC: "kgp2cu02", State: serve.Fetching, From: netip.MustParseAddr("192.0.2.2")},
		{FEC: "kgp2cu02", State: serve.Running, Preview: 7, From: netip.MustParseAddr("192.0.2.2")},
	}
	if diff := cmp.Diff(want, have, cmpopts.IgnoreFields(serve.Report{}, "At"), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +have)\n%s", diff)
	}
	line := `fec=kgp2cu02 serial=29000000 state=init-failed slot=29000000-ab12 detail="10-env: exit 1 [31mlevel=ERROR?" client=1.0.0 from=192.0.2.1`
	if !strings.Contains(text.String(), line) {
		t.Errorf("log lacks %q:\n%s", line, text)
	}
}

func TestRefusedReports(t *testing.T) {
	log, text := logged()
	h := serve.Tree(newFixture(t).root(), serve.Options{Log: log, Reports: func(r serve.Report) { t.Errorf("took %+v", r) }})
	for _, c := range []struct {
		status     int
		kind, body string
	}{
		{400, form, ""},
		{400, form, "state=running"},
		{400, form, "fec=kgp2cu02&state=running&preview=-7"},
		{400, form, "fec=kgp2cu02&state=running&preview=seven"},
		{400, form, "fec=kgp2cu02"},
		{400, form, "fec=kgp2cu02&state=Running"},
		{400, form, "fec=kgp2cu02&state=rebooted"},
		{400, form, "fec=KGP&state=running"},
		{400, form, "fec=../kgp&state=running"},
		{400, form, "fec=kgp2cu02%0alevel=ERROR&state=running"},
		{400, form, "fec=k" + strings.Repeat("a", 40) + "&state=running"},
		{400, form, "fec=kgp2cu02&fec=kgp2cu03&state=running"},
		{400, form, "fec=kgp2cu02&state=running&serial=-1"},
		{400, form, "fec=kgp2cu02&state=running&serial=2147483648"},
		{400, form, "fec=kgp2cu02&state=running&serial=1e3"},
		{400, form, "fec=kgp2cu02&state=running&slot=../x"},
		{400, form, "fec=kgp2cu02&state=running&client=" + strings.Repeat("a", 65)},
		{400, form, "fec=%zz&state=running"},
		{400, form, "fec=kgp2cu02&state=running&mac=00"},
		{400, form, "fec=kgp2cu02&state=running&at=-1&mac=00"},
		{400, form, "fec=kgp2cu02&state=running&at=1&mac=00&mac=01"},
		{413, form, "fec=kgp2cu02&state=running&detail=" + strings.Repeat("a", 3000)},
		{415, "application/json", `{"fec":"kgp2cu02"}`},
		{415, "", "fec=kgp2cu02&state=running"},
	} {
		if have := post(h, "127.0.0.1:4711", c.kind, c.body); have != c.status {
			t.Errorf("%.60q: status %d, want %d", c.body, have, c.status)
		}
	}
	if r := get(h, "/-/report?fec=kgp2cu02&state=running&detail="+strings.Repeat("a", 3000)); r.StatusCode != http.StatusBadRequest {
		t.Errorf("long query: status %d, want 400", r.StatusCode)
	}
	if strings.Contains(text.String(), "\nlevel=ERROR") {
		t.Errorf("a report wrote a line of the log:\n%s", text)
	}
}

func TestLongDetail(t *testing.T) {
	var have serve.Report
	h := serve.Tree(newFixture(t).root(), serve.Options{Reports: func(r serve.Report) { have = r }})
	post(h, "127.0.0.1:1", form, url.Values{"fec": {"kgp2cu02"}, "state": {"failed"}, "detail": {"x" + strings.Repeat("ü", 300)}}.Encode())
	if want := "x" + strings.Repeat("ü", 255); have.Detail != want {
		t.Errorf("%d bytes, want %d", len(have.Detail), len(want))
	}
}

// TestNamesThatAreMadeUpKeepNoFECOut, although they all come through the same proxy.
func TestNamesThatAreMadeUpKeepNoFECOut(t *testing.T) {
	root := newFixture(t).root()
	synctest.Test(t, func(t *testing.T) {
		h := serve.Tree(root, serve.Options{Known: func(fec string) bool { return fec == "kgp2cu02" }})
		for i := range 20_000 {
			post(h, "127.0.0.1:1", form, fmt.Sprintf("state=running&fec=fec%d", i))
		}
		if code := post(h, "127.0.0.1:1", form, "state=running&fec=kgp2cu02"); code != http.StatusNoContent {
			t.Errorf("status %d", code)
		}
	})
}

// TestReportRate runs on a clock of its own.
func TestReportRate(t *testing.T) {
	root := newFixture(t).root()
	synctest.Test(t, func(t *testing.T) {
		took := 0
		h := serve.Tree(root, serve.Options{Reports: func(serve.Report) { took++ }})
		send := func(n int, from, fec string) (taken int) {
			before := took
			for i := range n {
				name := fec
				if name == "" {
					name = fmt.Sprintf("fec%d", i)
				}
				if code := post(h, from, form, "state=running&fec="+name); code != http.StatusNoContent && code != http.StatusTooManyRequests {
					t.Fatalf("status %d", code)
				}
			}
			return took - before
		}
		if have := send(100, "192.0.2.1:1", ""); have != 50 {
			t.Errorf("one address: took %d at once, want 50", have)
		}
		if have := send(10, "192.0.2.2:1", ""); have != 10 {
			t.Errorf("another address: took %d, want 10", have)
		}
		time.Sleep(time.Second)
		if have := send(100, "192.0.2.1:2", ""); have != 5 {
			t.Errorf("a second later: took %d, want 5", have)
		}
		if have := send(30_000, "127.0.0.1:1", "flood"); have != 30 {
			t.Errorf("one FEC behind a proxy: took %d at once, want 30", have)
		}
		if have := send(1000, "127.0.0.1:1", ""); have != 1000 {
			t.Errorf("other FECs behind that proxy: took %d, want 1000", have)
		}
		if have := send(1, "192.0.2.3:1", "flood"); have != 1 {
			t.Error("what others say of a FEC keeps it out itself")
		}
		time.Sleep(time.Hour)
		if have := send(30_000, "127.0.0.1:1", ""); have != 20_000 {
			t.Errorf("all: took %d at once, want 20000", have)
		}
	})
}
