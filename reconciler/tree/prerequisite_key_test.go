package tree_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// TestAnotherKeyReplacesTheOldOne runs install.sh on a machine whose programs only do as if, and again after a vendor's key has changed, and nothing else.
func TestAnotherKeyReplacesTheOldOne(t *testing.T) {
	bin, etc := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"dpkg-query": "printf installed", "rpm": "exit 0", "apt-get": "exit 0", "dnf": "exit 0", "curl": `while [ "$1" != -o ]; do shift; done; : >"$2"`,
		"gpg": `for last; do :; done; case "$*" in *--export*) echo "$last" ;; esac`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for system, keyring := range map[string]string{"debian12": "apt/keyrings/pomona-vendor-db.gpg", "rocky-9": "pki/rpm-gpg/pomona-vendor-db.asc"} {
		for _, folder := range []string{"apt/sources.list.d", "yum.repos.d", "pki/rpm-gpg"} {
			if err := os.MkdirAll(filepath.Join(etc, folder), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct{ key, changed string }{{"A", "changed=1"}, {"A", "changed=0"}, {"B", "changed=1"}, {"B", "changed=0"}} {
			s := prerequisiteSite()
			p := s.Prerequisites["vendor-db"]
			p.Needs = nil
			p.Systems = map[string]desired.Provision{system: p.Systems[system]}
			p.Systems[system].VendorRepo.KeyFingerprint = strings.Repeat(c.key, 40)
			s.Prerequisites = map[string]desired.Prerequisite{"vendor-db": p}
			_, files := written(t, s)
			cmd := exec.Command("sh", "-c", strings.ReplaceAll(files[system+"/install.sh"], "/etc/", etc+"/"), "install.sh")
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			trusted, _ := os.ReadFile(filepath.Join(etc, keyring))
			if err != nil || !strings.HasSuffix(string(out), c.changed+"\n") || string(trusted) != strings.Repeat(c.key, 40)+"\n" {
				t.Errorf("%s with key %s: %v, %s; trusted is %s", system, c.key, err, out, trusted)
			}
		}
	}
}
