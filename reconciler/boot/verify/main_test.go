package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

var secret = tree.NewSecretKey([32]byte{1}, tree.KeyID{2, 3})

// TestParseAgreesWithTree changes, cuts and doubles pieces of a key and a signature: both parsers accept the same files,
// and read the same from them.
func TestParseAgreesWithTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := mutated(t, secret.Public().Marshal())
		id, body, err := parse(b, 32)
		want, wantErr := tree.ParsePublicKey(b)
		if (err == nil) != (wantErr == nil) || err == nil && (!bytes.Equal(id, want.ID[:]) || !bytes.Equal(body, want.Key)) {
			t.Fatalf("key %q: %v %v, tree: %v", b, body, err, wantErr)
		}
		b = mutated(t, secret.Sign([]byte("message")).Marshal())
		id, body, err = parse(b, 64)
		sigs, rest, wantErr := tree.ParseSignatures(b)
		one := wantErr == nil && len(sigs) == 1 && len(rest) == 0
		if (err == nil) != one || one && (!bytes.Equal(id, sigs[0].ID[:]) || !bytes.Equal(body, sigs[0].Sig[:])) {
			t.Fatalf("signature %q: %v %v, tree: %v", b, body, err, wantErr)
		}
	})
}

func mutated(t *rapid.T, b []byte) []byte {
	at := func(name string) int { return rapid.IntRange(0, len(b)).Draw(t, name) }
	piece := func(b []byte, i, j int) []byte { return bytes.Clone(b[min(i, j):max(i, j)]) }
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 1:
		return piece(b, 0, at("end"))
	case 2:
		i := at("place")
		return append(append(piece(b, 0, i), rapid.SliceOfN(rapid.Byte(), 1, 3).Draw(t, "inserted")...), b[i:]...)
	case 3:
		i, j := at("from"), at("to")
		return append(piece(b, 0, max(i, j)), b[min(i, j):]...) // some of it twice
	case 4:
		c := bytes.Clone(b)
		c[min(at("place"), len(b)-1)] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		return c
	}
	return b
}

func TestExitStatus(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "pomona-verify")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	message := []byte("message\n")
	other := tree.NewSecretKey([32]byte{9}, tree.KeyID{2, 3}) // with the same number
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, sig, text := file("key", secret.Public().Marshal()), file("sig", secret.Sign(message).Marshal()), file("text", message)
	numbered := tree.PublicKey{ID: tree.KeyID{7}, Key: secret.Public().Key}
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"signed", []string{key, sig, text}, 0},
		{"another text", []string{key, sig, file("changed", []byte("messagE\n"))}, 1},
		{"another key", []string{file("other", other.Public().Marshal()), sig, text}, 1},
		{"another number", []string{file("numbered", numbered.Marshal()), sig, text}, 1},
		{"key for signature", []string{key, key, text}, 2},
		{"missing file", []string{key, sig, filepath.Join(dir, "none")}, 2},
		{"missing argument", []string{key, sig}, 2},
	} {
		c2 := exec.Command(program, c.args...)
		_ = c2.Run() // the status is what counts
		if got := c2.ProcessState.ExitCode(); got != c.want {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
}
