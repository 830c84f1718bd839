package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/pomona-gitops/pomona/reconciler/serve/browsertest"
)

// looked is a configured site with pages.
type looked struct {
	*configured
	world
	pages string // URL
}

func newLooked(t *testing.T, login string) *looked {
	t.Helper()
	c, pages := configure(t, "one"), freeAddress(t)
	eventually(t, "the site is served", func() bool { return c.answers("one") })
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.top = fmt.Sprintf("pages: {listen: %q%s}\n", pages, login)
	c.write(t, []string{"one"}, "")
	c.service = serveFile(t, c.file)
	l := &looked{c, c.sites["one"], "http://" + pages}
	l.follows("the site is published")
	eventually(t, "the pages are shown", func() bool { return get(l.pages+"/") > 0 })
	return l
}

func (l *looked) newFEC(name string) fec { return l.world.newFEC(name, "http://"+l.addrs["one"]) }

// TestPeopleLookAtASite with a real browser while FECs boot and a merge is published: what they see follows, without being loaded again.
func TestPeopleLookAtASite(t *testing.T) {
	t.Parallel()
	l := newLooked(t, "")
	tab := browsertest.Open(t).Tab(t)
	total := len(l.fecs())
	tab.Go(l.pages + "/") // leads to the only site
	tab.Eventually("the fleet is shown", fmt.Sprintf(`location.pathname === "/one/" && document.body.innerText.includes("%d of %[1]d FECs") && document.body.innerText.includes("%[1]d silent")`, total))
	tab.Eventually("the page is live", `document.getElementById("live").textContent === "live"`)
	browsertest.Eval[bool](tab, "window.same = true")

	f := l.newFEC("tim1rx01")
	f.mustBoot()
	tab.Eventually("the boot is seen", `document.body.innerText.includes("1 running") && window.same`)

	// Its cell leads to it, by what the filter leaves.
	browsertest.Eval[bool](tab, `document.querySelector("select[name=condition]").value = "running", document.querySelector("form button").focus(), true`)
	tab.Press(kb.Enter)
	tab.Eventually("the filter counts", fmt.Sprintf(`location.search.includes("condition=running") && document.body.innerText.includes("1 of %d FECs")`, total))
	browsertest.Eval[bool](tab, `document.querySelector(".cells a").focus(), true`)
	tab.Press(kb.Enter)
	tab.Eventually("the FEC is shown", `location.pathname === "/one/fecs/tim1rx01" && document.querySelector("h1").innerText.includes("running")`)

	// A merge is published that the FEC has not booted, and one that it cannot be.
	tab.Go(l.pages + "/one/")
	tab.Eventually("the page is live", `document.getElementById("live").textContent === "live"`)
	browsertest.Eval[bool](tab, "window.same = true")
	l.world.write("fecs/control/more.cue", "package site\n\nfecs: tim1rx01: software: \"diag-tools\": version: \"2.2\"\n", 0o644)
	l.commit("more for tim1rx01")
	l.kick()
	tab.Eventually("the merge is seen", `document.body.innerText.includes("1 stale") && document.querySelector("table").innerText.includes("tim1rx01") && window.same`)
	l.world.write("fecs/control/more.cue", "package site\n\nfecs: tim1rx01: software: \"diag-tools\": version: \"9.9\"\n", 0o644)
	l.commit("a version that is not there")
	l.kickRefused()
	tab.Eventually("why the last commit is not published is seen", `document.body.innerText.includes("Wanted: commit") && document.body.innerText.includes("9.9")`)

	// Each page that the navigation leads to.
	for _, page := range browsertest.Eval[[]string](tab, `[...document.querySelectorAll("nav a")].map(a => a.getAttribute("href"))`) {
		if status := get(l.pages + page); status != http.StatusOK && page != "/" {
			t.Errorf("%s is answered with %d", page, status)
		}
		tab.Go(l.pages + page)
		if h := browsertest.Eval[string](tab, `document.querySelector("h1")?.innerText ?? ""`); h == "" {
			t.Errorf("%s says nothing", page)
		}
	}
	if odd := tab.Odd(); len(odd) > 0 {
		t.Errorf("the console says %q", odd)
	}
}

// kickRefused has the running service try what cannot be published.
func (w world) kickRefused() {
	w.t.Helper()
	if _, _, code := pomona(w.t, "kick", "--root", w.root); code == 0 {
		w.t.Error("a commit with a problem is published")
	}
}

// TestPeopleLogInByAProxy: the shipped configuration of nginx says who looks, and nobody else does.
func TestPeopleLogInByAProxy(t *testing.T) {
	t.Parallel()
	const proxy = "127.0.0.2"
	l := newLooked(t, `, login: {header: "X-Forwarded-User", from: ["`+proxy+`/32"]}`)
	front, people := freeAddress(t), filepath.Join(l.dir, "people")
	l.put(people, []byte("anna:{PLAIN}secret of anna\n"))
	l.front("pomona-pages.conf", "listen 443 ssl;", "listen "+front+";", "ssl_certificate     /etc/ssl/pomona.pem;", "", "ssl_certificate_key /etc/ssl/pomona.key;", "",
		"/etc/nginx/pomona-people", people, "http://127.0.0.1:8083", l.pages, "proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_bind "+proxy+";")
	eventually(t, "nginx answers", func() bool { return get("http://"+front+"/one/") == http.StatusUnauthorized })
	if status := get(l.pages + "/one/"); status != http.StatusForbidden {
		t.Errorf("past nginx, the pages answer %d", status)
	}
	tab := browsertest.Open(t).Tab(t)
	tab.WithHeaders("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("anna:secret of anna")), "X-Forwarded-User", "root")
	tab.Go("http://" + front + "/one/")
	if head := browsertest.Eval[string](tab, `document.querySelector("header").innerText`); !strings.Contains(head, "anna") || strings.Contains(head, "root") {
		t.Errorf("nginx says who looks, and the page %q", head)
	}
	tab.Eventually("events come through nginx", `document.getElementById("live").textContent === "live"`)
	browsertest.Eval[bool](tab, "window.same = true")
	l.newFEC("tim1rx01").mustBoot()
	tab.Eventually("the boot is seen", `document.body.innerText.includes("1 running") && window.same`)
	if odd := tab.Odd(); len(odd) > 0 {
		t.Errorf("the console says %q", odd)
	}
}
