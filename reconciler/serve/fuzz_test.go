package serve_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzPath asks for anything: nothing that comes back is secret, and no path is the server's fault.
func FuzzPath(f *testing.F) {
	x := newFixture(f)
	x.link("generations/42/leak", "../../../secret")
	x.link("generations/42/up", "../../..")
	x.link("generations/42/private", "../../.pomona")
	x.link("generations/42/absolute", filepath.Join(x.dir, "unpublished"))
	x.link("data/out", "../../secret")
	x.link("objects/in", "../.pomona/secret")
	x.fifo("generations/42/fifo")
	h := x.handler()
	for _, path := range []string{
		"/", "/index", "/leak", "/up/secret", "/private/secret", "/absolute", "/data/out", "/objects/in", "/fifo",
		"/../secret", "/%2e%2e/secret", "/..%2fsecret", "/.pomona/secret", "//.pomona/secret", "/objects/../.pomona/secret",
		"/fecs/.hidden", "/fecs/%2ehidden", "/fecs/kgp2cu02/persistent-data/../../secret", "/by-commit/../unpublished",
		"/objects", "/data/", "/previews/7/", `/..\secret`, "/%00", "/a%00/../secret", "/index/", "http://x/.pomona/secret", "*",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%q: served a secret", target)
		}
		if w.Code >= 500 {
			t.Errorf("%q: status %d", target, w.Code)
		}
	})
}
