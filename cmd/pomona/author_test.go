package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestWhoWritesIntoASiteIsShownNoSecrets: neither what the files hold that a command reads, nor passwords in addresses.
func TestWhoWritesIntoASiteIsShownNoSecrets(t *testing.T) {
	credential := filepath.Join(t.TempDir(), "credential")
	if err := os.WriteFile(credential, []byte("ann:a-password-of-hers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetErr(&errs)
	cmd.SetContext(t.Context())
	a, _, err := authorFlags{site: ".", payloads: &payloadFlags{cache: t.TempDir(), credentials: []string{"git.example.org=" + credential}}}.author(cmd)
	if err != nil {
		t.Fatal(err)
	}
	a.Log.Warn("cannot push", "to", "https://git.example.org/site.git", "because", "ann:a-password-of-hers is refused by https://bob:another-password@git.example.org/site.git")
	if said := errs.String(); strings.Contains(said, "a-password-of-hers") || strings.Contains(said, "another-password") ||
		!strings.Contains(said, "cannot push") || !strings.Contains(said, "https://git.example.org/site.git") {
		t.Errorf("it says %q", said)
	}
}
