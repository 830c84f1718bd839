// Package browsertest has a real Chromium, headless, look at pages for tests.
package browsertest

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long one step may take: longer than any does on a busy machine.
const patience = 5 * time.Minute

// top is the top of the repository.
var top = func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../..")
}()

// Browser is a running Chromium. Its tabs may be used at once.
type Browser struct {
	ctx context.Context
	axe string // the text of axe-core
}

// Open runs Chromium until the test ends. In CI it must be there.
func Open(t testing.TB) *Browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium is missing: .ci/setup must install Debian's package chromium", "install Debian's package chromium")
	}
	axe, err := os.ReadFile(filepath.Join(top, "build/axe/axe.min.js"))
	if err != nil {
		missing(t, "axe-core is missing: .ci/npm must fetch it", "run .ci/npm")
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Env("LANG=C.UTF-8"))...) // in a folder that is removed when no process of it is left: some write into it to their end
	ctx, closed := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		closed()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return &Browser{ctx, string(axe)}
}

func missing(t testing.TB, why, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip("SKIPPED: " + why + "; " + what)
}

// Tab is one that remembers what pages did that they should not.
type Tab struct {
	t   testing.TB
	b   *Browser
	ctx context.Context

	mu  sync.Mutex
	odd []string
}

// Tab opens one until the test ends.
func (b *Browser) Tab(t testing.TB) *Tab {
	t.Helper()
	tab := &Tab{t: t, b: b}
	ctx, closed := chromedp.NewContext(b.ctx, chromedp.WithListener(tab.notice))
	tab.ctx = ctx
	t.Cleanup(closed)
	if err := chromedp.Do(ctx); err != nil { // its life is not that of one step
		t.Fatalf("open tab: %v", err)
	}
	call(tab, log.Enable, cdp.Empty{})
	call(tab, network.Enable, network.EnableParams{})
	return tab
}

// notice remembers dialogs, and all that stands in the console, where Chromium says too what the policy of the page has forbidden.
func (tab *Tab) notice(event any) {
	var odd string
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		odd = "dialog: " + e.Message
		go func() { // the tab may be gone
			_, _ = chromedp.Call(tab.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}()
	case *log.EventEntryAdded:
		odd = fmt.Sprintf("%s of %s: %s %s", e.Entry.Level, e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *cdpruntime.EventExceptionThrown:
		odd = fmt.Sprintf("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *cdpruntime.EventConsoleAPICalled:
		odd = fmt.Sprintf("console.%s", e.Type)
	default:
		return
	}
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.odd = append(tab.odd, odd)
}

// Odd is what pages did since it was asked for last.
func (tab *Tab) Odd() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	odd := tab.odd
	tab.odd = nil
	return odd
}

// run takes one step.
func run[T any](tab *Tab, step chromedp.Action[T]) T {
	tab.t.Helper()
	out, err := try(tab, step)
	if err != nil {
		tab.t.Fatalf("look: %v", err)
	}
	return out
}

func try[T any](tab *Tab, step chromedp.Action[T]) (T, error) {
	ctx, stop := context.WithTimeout(tab.ctx, patience)
	defer stop()
	return chromedp.Run(ctx, step)
}

// call has the browser carry out a command of its protocol.
func call[P, R any](tab *Tab, command cdp.Command[P, R], p P) R {
	tab.t.Helper()
	return run(tab, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, command, p) })
}

// Go opens a page, and waits until it is whole.
func (tab *Tab) Go(url string) {
	tab.t.Helper()
	run(tab, chromedp.Navigate(url))
}

// Eval is what an expression gives that the page evaluates.
func Eval[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	return run(tab, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Eventually waits until an expression is true of the page.
func (tab *Tab) Eventually(what, expression string) {
	tab.t.Helper()
	is, err := false, error(nil)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(30 * time.Millisecond) {
		is, err = try(tab, chromedp.Evaluate[bool]("(() => { try { return !!("+expression+") } catch { return false } })()", chromedp.EvalAwaitPromise)) // between two pages there is none
		if is && err == nil {
			return
		}
	}
	tab.t.Fatalf("not after %v (%v): %s; the page says\n%.3000s", patience, err, what, Eval[string](tab, "document.body.innerText"))
}

// Screen is what people look at pages with.
type Screen struct {
	Width, Height int64
	Dark, Phone   bool
}

// Screens of people.
var (
	Desk  = Screen{Width: 1280, Height: 900}
	Night = Screen{Width: 1280, Height: 900, Dark: true}
	Phone = Screen{Width: 390, Height: 844, Phone: true}
	Wall  = Screen{Width: 1920, Height: 1080}
)

// WithHeaders sends headers with each request: names and values in turn.
func (tab *Tab) WithHeaders(headers ...string) {
	tab.t.Helper()
	all := network.Headers{}
	for i := 0; i < len(headers); i += 2 {
		all[headers[i]] = headers[i+1]
	}
	call(tab, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: all})
}

// Through looks at the page through another screen.
func (tab *Tab) Through(s Screen) {
	tab.t.Helper()
	scheme := "light"
	if s.Dark {
		scheme = "dark"
	}
	call(tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.Width, Height: s.Height, DeviceScaleFactor: 1, Mobile: s.Phone})
	call(tab, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: s.Phone})
	call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// WithoutScripts has pages run none; expressions are evaluated all the same.
func (tab *Tab) WithoutScripts() {
	tab.t.Helper()
	call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// Press presses keys, for instance kb.Tab. One that leads to another page may be answered by nobody: what comes of it is to be waited for.
func (tab *Tab) Press(keys string) {
	tab.t.Helper()
	if _, err := try(tab, chromedp.KeyEvent(keys)); err != nil && !strings.Contains(err.Error(), "navigated") {
		tab.t.Fatalf("press keys: %v", err)
	}
}

// Picture writes what the screen shows, and of a longer page up to most pixels below it too.
func (tab *Tab) Picture(file string, most float64) {
	tab.t.Helper()
	tab.write(file, tab.shot(most, true))
}

// SmallPicture writes likewise one for a manual: in few colours, as small as they let it be.
func (tab *Tab) SmallPicture(file string, most float64) {
	tab.t.Helper()
	full, err := png.Decode(bytes.NewReader(tab.shot(most, false)))
	if err != nil {
		tab.t.Fatal(err)
	}
	few := image.NewPaletted(full.Bounds(), fewColours(full))
	draw.Draw(few, few.Bounds(), full, full.Bounds().Min, draw.Src)
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, few); err != nil {
		tab.t.Fatal(err)
	}
	tab.write(file, b.Bytes())
}

// fewColours are those that are most in a picture.
func fewColours(m image.Image) (palette color.Palette) {
	count := map[color.Color]int{}
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			count[m.At(x, y)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	for _, c := range all[:min(len(all), 64)] {
		palette = append(palette, c)
	}
	return palette
}

func (tab *Tab) shot(most float64, fast bool) []byte {
	tab.t.Helper()
	width, height := Eval[float64](tab, "innerWidth"), Eval[float64](tab, "document.documentElement.scrollHeight")
	return call(tab, page.CaptureScreenshot, page.CaptureScreenshotParams{OptimizeForSpeed: &fast, CaptureBeyondViewport: new(true),
		Clip: &page.Viewport{Width: width, Height: min(height, most), Scale: 1}}).Data
}

func (tab *Tab) write(file string, b []byte) {
	tab.t.Helper()
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		tab.t.Fatal(err)
	}
}

// Finding is something that keeps people from using a page.
type Finding struct {
	ID, Impact, Help string
	Nodes            []string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s\n\t%s", f.Impact, f.ID, f.Help, strings.Join(f.Nodes, "\n\t"))
}

// Thin takes away most of many rows, cells and points that are alike, before somebody looks at each.
func (tab *Tab) Thin() {
	tab.t.Helper()
	Eval[bool](tab, `[...document.querySelectorAll("main :is(a, tr, li, option, g, dt, dd, section):nth-child(n+12)")].filter(e => e.nextElementSibling).forEach(e => e.remove()), true`)
}

// Findings are what axe-core finds in the page; with rules, by these alone.
func (tab *Tab) Findings(rules ...string) []Finding {
	tab.t.Helper()
	if !Eval[bool](tab, "!!window.axe") {
		Eval[bool](tab, tab.b.axe+";true")
	}
	only := ""
	if len(rules) > 0 {
		only = `runOnly: ["` + strings.Join(rules, `","`) + `"],`
	}
	return Eval[[]Finding](tab, `axe.run({`+only+` resultTypes: ["violations"], preload: false}).then(r => r.violations.map(v => ({
		ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.slice(0, 5).map(n => n.html + " " + n.failureSummary)})))`)
}
