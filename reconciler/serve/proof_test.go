package serve_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

var tokenA, tokenB, tokenC = tree.NewToken([64]byte{1}), tree.NewToken([64]byte{2}), tree.NewToken([64]byte{3})

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const running = "state=running&serial=7&fec="

func TestOnlyItsTokenProvesAReportAndOnlyOnce(t *testing.T) {
	root := newFixture(t).root()
	file := tokenFile(t, "# tokens\nfec-a "+string(tokenA)+"\nfec-a "+string(tokenC)+"\n\nfec-b "+string(tokenB)+"\n")
	synctest.Test(t, func(t *testing.T) {
		log, text := logged()
		now := time.Now()
		var took []serve.Report
		h := serve.Tree(root, serve.Options{Log: log, Reports: func(r serve.Report) { took = append(took, r) },
			Proofs: serve.Proofs{TokenFile: file, Clocks: map[string]time.Time{"fec-b": now}, Since: now.Add(-time.Minute)}})
		first := tokenA.Prove(running+"fec-a", now)
		for _, c := range []struct {
			what, form string
			taken      bool
			proven     bool
			log        string
		}{
			{"no token", running + "fec-a", true, false, "proven=false"},
			{"from before anything is known", tokenA.Prove(running+"fec-a", now.Add(-2*time.Minute)), true, false, "what came before"},
			{"its token", first, true, true, "proven=true"},
			{"sent twice, as the answer was lost", first, false, false, ""},
			{"its other token", tokenC.Prove(running+"fec-a", now.Add(time.Second)), true, true, ""},
			{"a replay", first, true, false, "may be a replay"},
			{"the same time again", tokenA.Prove(running+"fec-a&detail=x", now.Add(time.Second)), true, false, "may be a replay"},
			{"another FEC's token", tokenB.Prove(running+"fec-a", now.Add(2*time.Second)), true, false, "another token was used"},
			{"a changed form", strings.Replace(tokenA.Prove(running+"fec-a", now.Add(3*time.Second)), "running", "failed", 1), true, false, "another token was used"},
			{"a field behind the code", tokenA.Prove(running+"fec-a", now.Add(3*time.Second)) + "&detail=x", true, false, "another token was used"},
			{"as old as what the ledger knows", tokenB.Prove(running+"fec-b", now), true, false, "may be a replay"},
			{"newer than that", tokenB.Prove(running+"fec-b", now.Add(time.Second)), true, true, ""},
			{"a clock far ahead", tokenB.Prove(running+"fec-b", now.Add(25*time.Hour)), true, false, "clock is off by 25h0m0s"},
			{"a clock that was never set", tokenA.Prove(running+"fec-a", time.Unix(100, 0)), true, false, "clock is off by"},
			{"a FEC without a token", tokenA.Prove(running+"fec-c", now), true, false, "the FEC has no token here"},
		} {
			took = nil
			text.Reset()
			if code := post(h, "127.0.0.1:1", form, c.form); code != http.StatusNoContent {
				t.Errorf("%s: status %d", c.what, code)
			}
			if (len(took) == 1) != c.taken || c.taken && took[0].Proven != c.proven {
				t.Errorf("%s: took %+v, want it taken: %v, proven: %v", c.what, took, c.taken, c.proven)
			}
			if !strings.Contains(text.String(), c.log) {
				t.Errorf("%s: log lacks %q:\n%s", c.what, c.log, text)
			}
		}
	})
}

func TestASiteMayRequireTokens(t *testing.T) {
	took := 0
	h := serve.Tree(newFixture(t).root(), serve.Options{Reports: func(serve.Report) { took++ },
		Proofs: serve.Proofs{TokenFile: tokenFile(t, "fec-a "+string(tokenA)+"\n"), Require: true}})
	good := tokenA.Prove(running+"fec-a", time.Now())
	for _, c := range []struct {
		form   string
		status int
	}{{running + "fec-a", 403}, {running + "fec-b", 403}, {tokenB.Prove(running+"fec-a", time.Now()), 403}, {good, 204}, {good, 204}} {
		if code := post(h, "127.0.0.1:1", form, c.form); code != c.status {
			t.Errorf("%s: status %d, want %d", c.form, code, c.status)
		}
	}
	if took != 1 {
		t.Errorf("took %d, want 1", took)
	}
}

// TestTokensAreReadAgain when their file changes; while it cannot be read, the last ones count.
func TestTokensAreReadAgain(t *testing.T) {
	root := newFixture(t).root()
	file := tokenFile(t, "fec-a nonsense\nfec-b "+string(tokenB)+"\n")
	synctest.Test(t, func(t *testing.T) {
		log, text := logged()
		proven := false
		h := serve.Tree(root, serve.Options{Log: log, Reports: func(r serve.Report) { proven = r.Proven }, Proofs: serve.Proofs{TokenFile: file}})
		proves := func(token tree.Token, fec string) bool {
			time.Sleep(2 * time.Second)
			if code := post(h, "127.0.0.1:1", form, token.Prove(running+fec, time.Now())); code != http.StatusNoContent {
				t.Fatalf("status %d", code)
			}
			return proven
		}
		if !proves(tokenB, "fec-b") || proves(tokenA, "fec-a") {
			t.Error("a malformed line concerns the others, or counts")
		}
		if want := file + ":1: malformed token"; strings.Count(text.String(), want) != 1 {
			t.Errorf("log has not once %q:\n%s", want, text)
		}
		if err := os.WriteFile(file, []byte("fec-a "+string(tokenA)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if !proves(tokenA, "fec-a") || proves(tokenB, "fec-b") {
			t.Error("the changed file is not read again")
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if !proves(tokenA, "fec-a") || !strings.Contains(text.String(), "no such file") {
			t.Errorf("without the file the last tokens do not count, or nobody is told:\n%s", text)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if !proves(tokenA, "fec-a") || !strings.Contains(text.String(), "chmod 600") {
			t.Errorf("a file that others may read counts, or nobody is told:\n%s", text)
		}
	})
}

// TestAFloodKeepsNobodyOutWhoProves: neither one of others, nor one in its own name.
func TestAFloodKeepsNobodyOutWhoProves(t *testing.T) {
	root := newFixture(t).root()
	file := tokenFile(t, "fec-a "+string(tokenA)+"\n")
	synctest.Test(t, func(t *testing.T) {
		proven := 0
		h := serve.Tree(root, serve.Options{Proofs: serve.Proofs{TokenFile: file}, Reports: func(r serve.Report) {
			if r.Proven {
				proven++
			}
		}})
		now := time.Now()
		old := tokenA.Prove(running+"fec-a", now.Add(-time.Hour))
		post(h, "192.0.2.1:1", form, tokenA.Prove(running+"fec-a", now))
		for i := range 25_000 {
			post(h, "127.0.0.1:1", form, fmt.Sprintf("%sfec%d", running, i))
			post(h, "192.0.2.1:1", form, running+"fec-a")
			post(h, "192.0.2.1:1", form, old)
		}
		if code := post(h, "192.0.2.1:1", form, tokenA.Prove(running+"fec-a", now.Add(time.Second))); code != http.StatusNoContent || proven != 2 {
			t.Errorf("status %d, %d proven reports, want 2", code, proven)
		}
		for i := range 100 {
			post(h, "192.0.2.1:1", form, tokenA.Prove(running+"fec-a", now.Add(time.Duration(i+2)*time.Second)))
		}
		if proven != 30 {
			t.Errorf("%d reports of one FEC at once, want 30", proven)
		}
	})
}
