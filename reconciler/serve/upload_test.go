package serve_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

const uploadToken = "a token of a build machine"

// uploading is a server that takes uploads into a store.
type uploading struct {
	t       *testing.T
	address string
	objects *store.Store
	dir     string
}

func newUploading(t *testing.T, o serve.Options) uploading {
	t.Helper()
	u := uploading{t: t, dir: t.TempDir()}
	dir, err := durable.Open(u.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Prepare(); err != nil {
		t.Fatal(err)
	}
	u.objects = store.New(dir)
	o.Uploads.TokenFile, o.Uploads.Has = filepath.Join(u.dir, "tokens"), u.objects.Has
	o.Uploads.Put = func(ctx context.Context, write func(io.Writer) error) error {
		_, _, err := u.objects.Put(ctx, write)
		return err
	}
	if err := os.WriteFile(o.Uploads.TokenFile, []byte(uploadToken), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(newFixture(t).dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.address = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- serve.Run(ctx, l, serve.Tree(root, o), o) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		root.Close() // only read
		dir.Close()  // every write has reported its own error
	})
	return u
}

// send writes a request as it is and returns the connection.
func (u uploading) send(format string, args ...any) net.Conn {
	u.t.Helper()
	c, err := net.Dial("tcp", u.address)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { c.Close() }) // the test is over
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		u.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		u.t.Fatal(err)
	}
	return c
}

func (u uploading) status(c net.Conn) int {
	u.t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	res.Body.Close() // the status is enough
	return res.StatusCode
}

func (u uploading) empty() {
	u.t.Helper()
	all, err := u.objects.List()
	left, _ := os.ReadDir(filepath.Join(u.dir, durable.Staging))
	if len(all)+len(left) > 0 || err != nil {
		u.t.Errorf("stored %v, staged %v, %v", all, left, err)
	}
}

const put = "PUT /-/blobs/sha256/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"

// TestStalledUploadsEnd starts uploads that never go on, with and without a token.
func TestStalledUploadsEnd(t *testing.T) {
	u := newUploading(t, serve.Options{StallTimeout: 300 * time.Millisecond})
	for _, token := range []string{uploadToken, "wrong"} {
		c := u.send(put, artifact.Sum([]byte("x")), token, 1_000_000, "some")
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("token %q: the connection stays: %v", token, err)
		}
	}
	c := u.send(put, artifact.Sum([]byte("some")), uploadToken, 5, "some") // cut off behind what has the digest
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Error(err)
	}
	u.empty()
}

// TestUploadsAtOnceAreBounded holds one upload open while another is tried.
func TestUploadsAtOnceAreBounded(t *testing.T) {
	u := newUploading(t, serve.Options{Uploads: serve.Uploads{AtOnce: 1}})
	content := "some content"
	first := u.send(put, artifact.Sum([]byte(content)), uploadToken, len(content), content[:4])
	for { // until it is under way
		if left, _ := os.ReadDir(filepath.Join(u.dir, durable.Staging)); len(left) == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := u.status(u.send(put, artifact.Sum([]byte("x")), uploadToken, 1, "x")); got != http.StatusServiceUnavailable {
		t.Errorf("a second upload: status %d", got)
	}
	if _, err := io.WriteString(first, content[4:]); err != nil {
		t.Fatal(err)
	}
	if got := u.status(first); got != http.StatusCreated {
		t.Errorf("the first upload: status %d", got)
	}
	if got := u.status(u.send(put, artifact.Sum([]byte("x")), uploadToken, 1, "x")); got != http.StatusCreated {
		t.Errorf("the second upload again: status %d", got)
	}
}

// TestUploadNeedsALength refuses a body whose length nobody says.
func TestUploadNeedsALength(t *testing.T) {
	u := newUploading(t, serve.Options{})
	c := u.send("PUT /-/blobs/sha256/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", artifact.Sum([]byte("x")), uploadToken)
	if got := u.status(c); got != http.StatusLengthRequired {
		t.Errorf("status %d", got)
	}
	u.empty()
}

// TestUploadIsNotReadBeforeItIsWelcome asks first, as a client with Expect does.
func TestUploadIsNotReadBeforeItIsWelcome(t *testing.T) {
	u := newUploading(t, serve.Options{Uploads: serve.Uploads{MaxSize: 100}})
	for token, want := range map[string]int{"wrong": http.StatusUnauthorized, uploadToken: http.StatusRequestEntityTooLarge} {
		c := u.send(strings.Replace(put, "Host: x", "Host: x\r\nExpect: 100-continue", 1), artifact.Sum([]byte("x")), token, 101, "")
		if got := u.status(c); got != want {
			t.Errorf("token %q: status %d, want %d", token, got, want)
		}
	}
	u.empty()
}
