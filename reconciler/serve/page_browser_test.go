package serve_test

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve/browsertest"
)

// TestEveryPageInABrowser looks at each page of every site with a real Chromium, by day, by night and on a phone: nothing that is shown does
// anything, everybody can use it, and everything is reached with a keyboard. The pictures are in build/screenshots.
func TestEveryPageInABrowser(t *testing.T) {
	type look struct {
		kind      siteKind
		path, url string
	}
	var all []look
	for _, kind := range siteKinds {
		seen, paths := seenOf(kind)
		s := looking(t, seen, nil)
		for _, path := range paths {
			all = append(all, look{kind, path, s.URL + "/ring/" + path})
		}
	}
	b := browsertest.Open(t) // ends before the servers, which wait for it
	looks := make(chan look, len(all))
	for _, l := range all {
		looks <- l
	}
	close(looks)
	var tabs sync.WaitGroup
	defer tabs.Wait()
	for range 2 {
		tab := b.Tab(t)
		tabs.Go(func() {
			for l := range looks {
				for _, wrong := range tried(tab, l.url, filepath.Join("../../build/screenshots", string(l.kind), pictureOf(l.path)), l.kind == siteSmall) {
					t.Errorf("%s: %s: %s", l.kind, l.path, wrong)
				}
			}
		})
	}
}

// pictureOf is the name of a page's picture, without its ending.
func pictureOf(path string) string {
	name := strings.Trim(regexp.MustCompile(`[^A-Za-z0-9_-]+`).ReplaceAllString(path, "-"), "-")
	if path == "" {
		name = "fleet"
	}
	return name[:min(len(name), 60)]
}

// tried is what is wrong with a page: a whole look also walks through it with Tab, and is by night and on a phone too.
func tried(tab *browsertest.Tab, url, picture string, whole bool) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	tab.Through(browsertest.Desk)
	tab.Go(url)
	if browsertest.Eval[string](tab, "document.contentType") != "text/html" {
		tab.Odd() // what a browser makes of a file is its own
		return nil
	}
	for _, x := range browsertest.Eval[[]string](tab, foreign) {
		say("has what no template writes: %s", x)
	}
	tab.Picture(picture+".png", 2000)
	if whole {
		wrong = append(wrong, walked(tab)...)
	}
	tab.Through(browsertest.Phone)
	if wide := browsertest.Eval[string](tab, tooWide); wide != "" {
		say("on a phone: %s", wide)
	}
	if whole {
		tab.Picture(picture+"-phone.png", 2000)
		tab.Through(browsertest.Night)
		tab.Picture(picture+"-dark.png", 900)
	}
	tab.Thin()
	if whole {
		for _, f := range tab.Findings("color-contrast") {
			say("by night: %s", f)
		}
	}
	tab.Through(browsertest.Desk)
	for _, f := range tab.Findings() {
		if f.Impact == "serious" || f.Impact == "critical" {
			say("%s", f)
		}
	}
	for _, odd := range tab.Odd() {
		if !strings.Contains(odd, "does not conform to the required format") { // what a URL says of a date, and a field then ignores
			say("%s", odd)
		}
	}
	return wrong
}

// foreign are elements and attributes that no template writes, and ids that are there twice.
const foreign = `[...[...document.querySelectorAll("[id]")].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i).map(id => "twice the id " + id), ...[...document.querySelectorAll("*")].flatMap(e => {
	const name = e.tagName.toLowerCase(), link = e.getAttribute("href") ?? "";
	if (["iframe", "object", "embed", "img", "video", "audio", "base", "template", "foreignobject", "style"].includes(name)) return [e.outerHTML.slice(0, 200)];
	if (name === "script" && !(e.getAttribute("src") ?? "").startsWith("/-/assets/live-")) return [e.outerHTML.slice(0, 200)];
	if (/^\s*[a-z]+:/i.test(link) && !/^https?:|^mailto:/.test(link)) return ["link " + link];
	return [...e.attributes].filter(a => a.name.startsWith("on") || a.name === "style" || a.name === "srcdoc").map(a => name + " " + a.name + "=" + a.value);
})].slice(0, 5)`

// tooWide says what has a page scroll sideways.
const tooWide = `(() => {
	const page = document.scrollingElement;
	if (page.scrollWidth <= 390 && innerWidth <= 390) return "";
	const wide = [...document.querySelectorAll("main *, header *")].filter(e => e.getBoundingClientRect().right > 391 && !e.parentElement.closest(".wide"));
	return "it is " + page.scrollWidth + " wide: " + wide.slice(0, 3).map(e => e.outerHTML.slice(0, 160)).join(" … ");
})()`

// walked is what is wrong for whoever has no mouse: each Tab leads to the next link or control, which shows that it has the focus.
func walked(tab *browsertest.Tab) (wrong []string) {
	const most = 60
	stops := browsertest.Eval[int](tab, walk)
	parts := browsertest.Eval[int](tab, `7 * document.querySelectorAll("input[type^=date]").length`) // day, month and so on are stops in one
	tab.Press(strings.Repeat(kb.Tab, min(stops, most)+parts))
	got := browsertest.Eval[[]step](tab, "window.steps")
	got = got[:min(len(got), stops, most)]
	for i, s := range got {
		if s.At != i {
			wrong = append(wrong, fmt.Sprintf("Tab %d of %d leads to stop %d, after %q: %s", i+1, stops, s.At, got[max(i-1, 0)].What, s.What))
			break
		}
	}
	if len(got) != min(stops, most) {
		wrong = append(wrong, fmt.Sprintf("%d Tabs lead to %d stops, the last %v", min(stops, most), len(got), got[max(len(got)-1, 0):]))
	}
	if i := slices.IndexFunc(got, func(s step) bool { return !s.Shown }); i >= 0 {
		wrong = append(wrong, "nobody sees that it has the focus: "+got[i].What)
	}
	if len(got) > 0 && !strings.Contains(got[0].What, `href="#main"`) {
		wrong = append(wrong, "the first stop leads not to the content: "+got[0].What)
	}
	return wrong
}

// step is where a Tab leads.
type step struct {
	At    int // among all links and controls, in their order
	Shown bool
	What  string
}

// walk begins to remember where each Tab leads, and says how many stops there are.
const walk = `(() => {
	document.activeElement?.blur();
	const stops = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")].filter(e => e.tabIndex >= 0 && e.checkVisibility());
	window.steps = [];
	document.addEventListener("focusin", ({target}) => {
		const s = getComputedStyle(target), box = target.getBoundingClientRect();
		steps.push({At: stops.indexOf(target), What: target.outerHTML.slice(0, 200),
			Shown: target.matches(":focus-visible") && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 && box.right > 0 && box.bottom > 0 && box.width > 0});
	});
	return stops.length;
})()`

// TestAFleetFitsOnAScreen: 2,000 FECs in 40 groups are seen at once, and each is reached with few keys.
func TestAFleetFitsOnAScreen(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	tab := browsertest.Open(t).Tab(t)
	tab.Through(browsertest.Wall)
	tab.Go(s.URL + "/ring/")
	const onScreen = `[...document.querySelectorAll(".cells > a")].filter(e => {
		const r = e.getBoundingClientRect();
		return r.width >= 10 && r.height >= 10 && r.top >= 0 && r.left >= 0 && r.bottom <= innerHeight && r.right <= innerWidth;
	}).length`
	if n := browsertest.Eval[int](tab, onScreen); n != 2000 {
		t.Errorf("%d of 2000 FECs are on the screen", n)
	}
	tab.Picture("../../build/screenshots/large/fleet-wall.png", 1080)

	const focused = `document.activeElement.getAttribute("href")`
	stops := browsertest.Eval[int](tab, walk)
	if stops > 250 {
		t.Errorf("%d stops of Tab", stops)
	}
	browsertest.Eval[bool](tab, `document.querySelector("form a").focus(), true`)
	tab.Press(strings.Repeat(kb.Tab, 9)) // seven of the legend, the list, the first group
	for _, step := range []struct{ key, want string }{
		{"", "/ring/fecs/scuxl00000"}, {kb.ArrowRight, "/ring/fecs/scuxl00280"}, {kb.End, "/ring/fecs/scuxl01840"}, {kb.ArrowRight, "/ring/fecs/scuxl01840"},
		{kb.Home, "/ring/fecs/scuxl00000"}, {kb.Tab, "/ring/fecs/scuxl00161"},
	} {
		tab.Press(step.key)
		if got := browsertest.Eval[string](tab, focused); got != step.want {
			t.Errorf("key %q leads to %s, want %s", step.key, got, step.want)
		}
	}
	before := browsertest.Eval[float64](tab, "document.activeElement.offsetTop")
	tab.Press(kb.ArrowDown)
	if after := browsertest.Eval[float64](tab, "document.activeElement.offsetTop"); after <= before {
		t.Errorf("down leads from %v to %v", before, after)
	}
	tab.Press(kb.ArrowUp)
	tab.Press(kb.Enter)
	tab.Eventually("Enter opens the FEC", `location.pathname === "/ring/fecs/scuxl00161"`)
}

// TestAPageStaysAsNewAsTheService: by events alone, without being loaded again, and whoever is in the middle of something stays there.
func TestAPageStaysAsNewAsTheService(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	var fleet atomic.Pointer[report.Fleet]
	change := func(n int) {
		f := fleetOf(n)
		fleet.Store(&f)
		seen.Changes.Tell()
	}
	seen.Fleet = func(context.Context) (report.Fleet, error) { return *fleet.Load(), nil }
	change(200)
	s := looking(t, seen, nil)
	tab := browsertest.Open(t).Tab(t)
	tab.Go(s.URL + "/ring/")
	tab.Eventually("the page is live", `document.getElementById("live").textContent === "live"`)
	browsertest.Eval[bool](tab, `window.same = true, document.querySelector('.cells a[href$="00041"]').focus(), true`)
	change(201)
	tab.Eventually("the change is shown", `document.body.innerText.includes("201 of 201 FECs")`)
	if !browsertest.Eval[bool](tab, `window.same && document.activeElement.getAttribute("href").endsWith("00041") && document.activeElement.closest(".cells") !== null`) {
		t.Error("the page was loaded again, or the focus is elsewhere")
	}
	browsertest.Eval[bool](tab, `document.querySelector("input[name=q]").focus(), true`)
	tab.Press("scu")
	change(202)
	time.Sleep(3 * time.Second) // longer than it looks again
	if !browsertest.Eval[bool](tab, `document.querySelector("input[name=q]").value === "scu" && document.body.innerText.includes("201 of 201 FECs")`) {
		t.Error("whoever fills in a form is disturbed")
	}
	browsertest.Eval[bool](tab, `document.activeElement.blur(), true`)
	tab.Eventually("the change is shown afterwards", `document.body.innerText.includes("202 of 202 FECs")`)
	if odd := tab.Odd(); len(odd) > 0 {
		t.Error(odd)
	}
}

// TestPagesWorkWithoutScripts: all is there, filters filter, and a group of cells can be passed.
func TestPagesWorkWithoutScripts(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	tab := browsertest.Open(t).Tab(t)
	tab.WithoutScripts()
	tab.Go(s.URL + "/ring/")
	browsertest.Eval[bool](tab, `document.querySelector("select[name=condition]").value = "failed", document.querySelector("form button").focus(), true`)
	tab.Press(kb.Enter)
	tab.Eventually("the filter counts", `document.body.innerText.includes("4 of 200 FECs") && location.search.includes("condition=failed")`)
	tab.Go(s.URL + "/ring/")
	browsertest.Eval[bool](tab, `document.querySelector(".past").focus(), true`)
	tab.Press(kb.Enter)
	tab.Eventually("the link leads past the cells", `location.hash === "#part1"`)
	tab.Press(kb.Tab)
	if got := browsertest.Eval[string](tab, `document.activeElement.getAttribute("href")`); got != "#part2" {
		t.Errorf("from there Tab leads to %s", got)
	}
}
