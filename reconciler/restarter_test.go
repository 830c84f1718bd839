package reconciler_test

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/boot/crowd"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// floor is a site of many FECs that boot from its root and answer over ssh, and what restarts them.
type floor struct {
	t     *testing.T
	site  site
	root  string
	r     *reconciler.Reconciler
	s     *reconciler.Restarter
	crowd *crowd.Crowd
	dead  *bool // the restarter is

	paused string
	failed map[string]string // FEC to its hold
}

// newFloor has n FECs of each group, which run version 1.0.0.
func newFloor(t *testing.T, pace string, n int, groups ...string) *floor {
	t.Helper()
	f := &floor{t: t, root: t.TempDir(), failed: map[string]string{}}
	f.site = newSite(t)
	var fecs, in strings.Builder
	var names []string
	for _, g := range groups {
		fmt.Fprintf(&in, "\t\t%s: {}\n", g)
		for i := range n {
			name := fmt.Sprintf("%s%02d", g, i)
			names = append(names, name)
			fmt.Fprintf(&fecs, "\t%s: {host: \"h%s\", platform: \"ppc\", groups: [%q], software: bpm: version: #bpm, init: \"50-bpm\": {file: \"scripts/bpm\", starts: \"bpm\"}}\n", name, name, g)
		}
	}
	f.site.write("fecs/fecs.cue", "package site\n\n#bpm: \"1.0.0\"\nfecs: {\n"+fecs.String()+"}\n")
	f.site.write("groups.cue", "package site\n\nsite: groups: {\n"+in.String()+"}\nsite: restarts: "+pace+"\n")
	f.site.commit("software/bpm.cue", "software: bpm: versions: {", "software: bpm: onUpdate: \"restart\"\nsoftware: bpm: versions: {")
	f.r = f.site.reconciler(f.root)
	f.r.Now, f.r.Records = time.Now, reconciler.NewRecords(f.root, f.r.Log)
	pass(t, f.r)
	if err := f.r.Records.Close(); err != nil {
		t.Fatal(err)
	}
	server := f.serve()
	key, authorized := sshKey(t)
	var err error
	if f.crowd, err = crowd.New(crowd.Settings{Server: server, Authorized: authorized}, names); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.crowd.Close)
	if err := f.crowd.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := f.crowd.Boot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.start(&remote.SSH{Key: key, Timeout: 10 * time.Second})
	return f
}

func (f *floor) serve() string {
	root, err := os.OpenRoot(f.root)
	if err != nil {
		f.t.Fatal(err)
	}
	s := httptest.NewServer(serve.Tree(root, serve.Options{Log: f.r.Log}))
	f.t.Cleanup(func() {
		s.Close()
		root.Close()
	})
	return s.URL
}

func sshKey(t *testing.T) (file string, authorized []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return file, ssh.MarshalAuthorizedKey(key)
}

// start starts a restarter, as a service does that was killed before.
func (f *floor) start(shell *remote.SSH) {
	records := reconciler.NewRecords(f.root, f.r.Log)
	f.t.Cleanup(func() { records.Close() })
	r := *f.r
	r.Records = records
	f.r = &r
	dead := false
	f.dead = &dead
	f.s = &reconciler.Restarter{Reconciler: f.r, AtOnce: 16, Tell: f, Shell: shell,
		Host: func(fec string, _ desired.FEC) remote.Host {
			of := f.crowd.FEC(fec)
			return remote.Host{Name: fec, Address: of.Address(), HostKeys: []string{of.HostKey()}}
		},
		Kick: func(context.Context) { f.pass() },
	}
	f.pass()
}

// Stand implements reconciler.Told.
func (f *floor) Stand(report.Restarts) {}

// RestartsPaused implements reconciler.Told.
func (f *floor) RestartsPaused(reason string) { f.paused = reason }

// FECFailed implements reconciler.Told.
func (f *floor) FECFailed(r observed.Rollout, held string) { f.failed[r.FEC] = held }

func (f *floor) pass() {
	f.t.Helper()
	if _, err := f.r.Reconcile(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// publish publishes another state of the site.
func (f *floor) publish(file, old, new string) {
	f.t.Helper()
	f.site = f.site.grow(file, old, new)
	next := f.site.reconciler(f.root)
	f.r.Repo = next.Repo
	f.pass()
}

// steps lets the restarter decide, at least once, until something is so.
func (f *floor) steps(until string, there func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err := f.s.Step(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		if *f.dead || there() {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("still not: %s\n%s", until, f.text())
		}
	}
}

func (f *floor) text() string {
	var b strings.Builder
	now, err := f.s.Restarts(f.t.Context())
	if err == nil {
		err = now.Text(&b)
	}
	if err != nil {
		f.t.Error(err)
	}
	return b.String()
}

func (f *floor) states() map[string]int {
	f.t.Helper()
	now, err := f.s.Restarts(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	out := map[string]int{}
	for _, fec := range now.FECs {
		out[fec.State]++
	}
	return out
}

func (f *floor) all(state string) func() bool {
	return func() bool { return f.states()[state] == len(f.crowd.FECs()) }
}

// starts is how often each FEC was started, and reboots among them.
func (f *floor) starts() map[string]int {
	out := map[string]int{}
	for _, fec := range f.crowd.FECs() {
		out[fec.Name] = fec.Status().Starts
	}
	return out
}

func (f *floor) order(do string, fecs ...string) string {
	f.t.Helper()
	text, err := f.s.Carry(f.t.Context(), reconciler.RestartOrder{Do: do, FECs: fecs, By: "ann", Reason: "a reason"})
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

func TestFECsGetWhatIsPublished(t *testing.T) {
	f := newFloor(t, `{pace: wave: "50%", order: ["b"]}`, 4, "a", "b")
	f.steps("all known", f.all(plan.StandsCurrent))
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	var order []string
	f.steps("all run", func() bool {
		for name, n := range f.starts() {
			if n > 1 && !slices.Contains(order, name) {
				order = append(order, name)
			}
		}
		return len(order) == 8
	})
	f.steps("all current", f.all(plan.StandsCurrent))
	for i, want := range "bbbbaaaa" {
		if rune(order[i][0]) != want {
			t.Fatalf("restarted in the order %v", order)
		}
	}
	for _, fec := range f.crowd.FECs() {
		asked := slices.DeleteFunc(fec.Commands(), func(c string) bool { return c == "pomona-fec status" })
		if s := fec.Status(); s.Starts != 2 || s.Boots != 1 || len(asked) != 1 || !strings.HasPrefix(asked[0], "pomona-fec restart ") || !strings.HasSuffix(asked[0], " bpm") {
			t.Errorf("%s: %+v, asked %q", fec.Name, s, asked)
		}
	}
	for range 3 {
		f.steps("nothing more", func() bool { return true })
	}
	if n := f.crowd.FECs()[0].Status().Starts; n != 2 {
		t.Errorf("started %d times", n)
	}
}

// TestAFECThatBootsByItselfIsAsked, when somebody reports that it has: it has no token to prove it.
func TestAFECThatBootsByItselfIsAsked(t *testing.T) {
	f := newFloor(t, `pace: wave: "1"`, 1, "a")
	f.steps("known", f.all(plan.StandsCurrent))
	fec, clock := f.crowd.FEC("a00"), time.Now()
	f.r.Now = func() time.Time { return clock }
	for _, c := range []struct {
		broken bool
		stands string
	}{{true, plan.StandsFailed}, {false, plan.StandsCurrent}} {
		clock = clock.Add(2 * time.Minute)
		fec.Break(c.broken)
		s := fec.Boot(t.Context())
		f.said("a00", s.Serial, s.State, clock)
		clock = clock.Add(time.Second)
		f.steps("it stands "+c.stands, f.all(c.stands))
	}

	// Whoever lies has it asked, once.
	clock = clock.Add(2 * time.Minute)
	asked := len(fec.Commands())
	f.said("a00", 1, "failed", clock)
	clock = clock.Add(time.Second)
	f.steps("it is asked", func() bool { return len(fec.Commands()) > asked })
	clock = clock.Add(2 * time.Minute)
	for range 3 {
		f.steps("nothing more", f.all(plan.StandsCurrent))
	}
	if n := len(fec.Commands()) - asked; n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// said enters what anybody can have reported.
func (f *floor) said(fec string, serial int64, state string, at time.Time) {
	f.t.Helper()
	must(f.t, f.r.Records.Use(f.t.Context(), func(l *ledger.Ledger) error {
		return l.AddReports(f.t.Context(), []ledger.FECReport{{FEC: fec, Serial: serial, State: state, Source: "report", At: at}})
	}))
}

// TestARestarterDiesAnywhere kills it at each point of the first, of a later, and of the last restart.
func TestARestarterDiesAnywhere(t *testing.T) {
	for _, point := range []string{"asking", "ordered", "asked"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			f := newFloor(t, `pace: {wave: "2", within: "1m"}`, 6, "a")
			shell := f.s.Shell.(*remote.SSH)
			f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
			for kill := range 3 {
				var mu sync.Mutex
				seen := 0
				dead := f.dead
				f.s.DiesAt(func(at, _ string) bool {
					mu.Lock()
					defer mu.Unlock()
					if at == point {
						seen++
					}
					*dead = *dead || seen > kill
					return !*dead
				})
				f.steps("dead", f.all(plan.StandsCurrent))
				f.start(shell)
			}
			f.steps("all current", f.all(plan.StandsCurrent))
			for name, n := range f.starts() {
				if n != 2 {
					t.Errorf("%s was started %d times", name, n)
				}
			}
		})
	}
}

func TestAFailurePausesAndAnOperatorDecides(t *testing.T) {
	f := newFloor(t, `pace: wave: "1"`, 4, "a")
	f.steps("all known", f.all(plan.StandsCurrent))
	f.crowd.FEC("a01").Break(true)
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.steps("paused", func() bool { return f.paused != "" })
	if !strings.Contains(f.paused, "1 FEC of no group failed (a01): init-failed: 50-start failed with status 1") || f.failed["a01"] != "" || len(f.failed) != 1 {
		t.Errorf("told %q, %v", f.paused, f.failed)
	}
	if n := f.starts(); n["a02"] != 1 || n["a03"] != 1 {
		t.Errorf("others were restarted: %v", n)
	}
	if text := f.text(); !strings.Contains(text, "4 FECs, 1 current, 2 waiting, 1 failed") || !strings.Contains(text, "by Pomona: 1 FEC") {
		t.Errorf("status:\n%s", text)
	}
	f.order("skip", "a02")
	f.order("resume")
	f.steps("others run", func() bool { return f.states()[plan.StandsCurrent] == 2 })
	if n := f.starts(); f.paused != "" || n["a02"] != 1 || n["a01"] != 2 {
		t.Errorf("paused %q, started %v", f.paused, n)
	}
	f.crowd.FEC("a01").Break(false)
	f.order("now", "a01")
	f.steps("a01 runs", func() bool { return f.states()[plan.StandsCurrent] == 3 })
	if s := f.crowd.FEC("a01").Status(); s.Boots != 2 {
		t.Errorf("a FEC whose scripts failed was not rebooted: %+v", s)
	}
	for order, want := range map[string]string{"now a00": "runs what is published", "skip a0": `nothing is published for a FEC "a0": did you mean`} {
		do, fec, _ := strings.Cut(order, " ")
		if _, err := f.s.Carry(t.Context(), reconciler.RestartOrder{Do: do, FECs: []string{fec}, By: "ann"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", order, err)
		}
	}
}

func TestAFECThatDoesNotRunReturns(t *testing.T) {
	f := newFloor(t, `pace: {wave: "2"}`, 3, "a")
	f.publish("software/bpm.cue", "software: bpm: onUpdate: \"restart\"", "software: bpm: {onUpdate: \"restart\", onFail: \"previous\"}")
	f.steps("all known", f.all(plan.StandsCurrent))
	f.crowd.FEC("a00").Break(true)
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	bad := f.head()
	f.steps("it failed", func() bool { return len(f.failed) > 0 })
	if f.failed["a00"] == "" || f.paused == "" {
		t.Fatalf("failed %v, paused %q", f.failed, f.paused)
	}
	f.crowd.FEC("a00").Break(false)
	f.steps("it returns", func() bool { return f.states()[plan.StandsCurrent] == 2 })
	if g := observeRoot(t, f.root); len(g.Generations) == 0 {
		t.Fatal("nothing is published")
	} else if held := g.Generations[len(g.Generations)-1].Givens.Held; len(held) != 1 || held[0].FEC != "a00" || held[0].Commit == bad {
		t.Errorf("held are %+v", held)
	}
	if n := f.starts()["a02"]; n != 1 {
		t.Error("what waits was restarted in a pause")
	}
	// A newer commit ends the hold.
	f.publish("fecs/fecs.cue", `"1.1.0"`, `"1.0.0"`)
	f.order("resume")
	f.steps("all run", f.all(plan.StandsCurrent))
	if held := observeRoot(t, f.root).Generations; len(held[len(held)-1].Givens.Held) != 0 {
		t.Error("still held")
	}
}

func (f *floor) head() string {
	f.t.Helper()
	c, err := f.r.Repo.Resolve(f.r.Branch)
	if err != nil {
		f.t.Fatal(err)
	}
	return c.ID
}

func TestHoldsAndInhibitsHoldFECs(t *testing.T) {
	f := newFloor(t, `pace: wave: "100%"`, 4, "a")
	f.steps("all known", f.all(plan.StandsCurrent))
	if _, err := f.r.Place(t.Context(), observed.Hold{Scope: "groups.none", Reason: "x", By: "ann", Until: time.Now().Add(time.Hour)}); err == nil {
		t.Error("a hold on nothing")
	}
	f.crowd.FEC("a01").Inhibit("magnet tests")
	f.publish("fecs/fecs.cue", `a02: {`, `a02: {inhibit: "crane", `)
	hold, err := f.r.Place(t.Context(), observed.Hold{Scope: "fecs.a03", Reason: "visitors", By: "ann", Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.steps("a00 runs", func() bool { return f.starts()["a00"] == 2 })
	f.steps("the rest is held", func() bool { return f.states()[plan.StandsHeld] == 2 && f.states()[plan.StandsCurrent] == 2 })
	for _, want := range []string{"inhibited: magnet tests", "inhibited: crane"} {
		if text := f.text(); !strings.Contains(text, want) {
			t.Errorf("%s is not said:\n%s", want, text)
		}
	}
	if err := f.r.Lift(t.Context(), hold.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	f.pass()
	f.steps("a03 runs", func() bool { return f.starts()["a03"] == 2 })
	if n := f.starts(); n["a01"] != 1 || n["a02"] != 1 {
		t.Errorf("inhibited FECs were started %v", n)
	}
}

// TestALostLedgerPauses forgets what failed, and restarts nothing before somebody has looked.
func TestALostLedgerPauses(t *testing.T) {
	f := newFloor(t, `pace: wave: "1"`, 2, "a")
	f.steps("all known", f.all(plan.StandsCurrent))
	shell := f.s.Shell.(*remote.SSH)
	if err := f.r.Records.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(f.root, ".pomona", ledger.File+suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	f.start(shell)
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.steps("all wait", f.all(plan.StandsWaiting))
	if !strings.Contains(f.paused, "ledger was made anew") {
		t.Errorf("paused by %q", f.paused)
	}
	f.order("resume")
	f.steps("all run", f.all(plan.StandsCurrent))
	for _, fec := range f.crowd.FECs() {
		if s := fec.Status(); s.Starts != 2 || s.Boots != 1 {
			t.Errorf("%s: %+v", fec.Name, s)
		}
	}
}
