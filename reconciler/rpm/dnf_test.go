package rpm_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

// client is a machine of its own with a dnf that sees some folders as repositories.
type client struct {
	t    *testing.T
	root string // of the machine
	conf string
}

// newClient makes a client; repositories are folders by name, checked are their signatures and those of their packages.
func newClient(t *testing.T, checked bool, repositories map[string]string) *client {
	t.Helper()
	need(t, "dnf", "rpm")
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: dnf installs as root only")
	}
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key.asc")
	write(t, keyFile, string(must(must(key())(t).PublicArmored())(t)))
	// A dnf of Debian skips repositories that are broken unless it is told not to, and nothing of the host is to count.
	conf := fmt.Sprintf("[main]\nreposdir=/nonexistent\ncachedir=%[1]s/cache\npersistdir=%[1]s/persist\nlogdir=%[1]s/log\nplugins=1\nskip_if_unavailable=0\ninstall_weak_deps=0\n", dir)
	for name, folder := range repositories {
		conf += fmt.Sprintf("[%s]\nname=%[1]s\nbaseurl=file://%s\nenabled=1\nskip_if_unavailable=0\nmetadata_expire=0\n", name, folder)
		if checked {
			conf += fmt.Sprintf("gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://%s\n", keyFile)
		}
	}
	c := &client{t, filepath.Join(dir, "root"), filepath.Join(dir, "dnf.conf")}
	write(t, c.conf, conf)
	return c
}

// run runs dnf, and says whether that went well. Its plugin local would offer, unchecked, what any dnf of this host has ever downloaded.
func (c *client) run(args ...string) (string, error) {
	cmd := exec.Command("dnf", append([]string{"-c", c.conf, "--releasever=9", "--forcearch=x86_64", "--installroot=" + c.root, "--disableplugin=local", "-y"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// installed is what rpm says is installed.
func (c *client) installed() string {
	c.t.Helper()
	return output(c.t, "", "rpm", "--root", c.root, "-qa")
}

// published writes a repository of packages, signed.
func published(t *testing.T, packages ...packed) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range packages {
		put(t, dir, p.read(t).String()+".rpm", p.bytes(t))
	}
	publish(t, dir)
	return dir
}

func publish(t *testing.T, dir string) {
	t.Helper()
	must0 := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	files := must(rpm.Repodata(entries(t, dir), fixed))(t)
	files[rpm.SignatureName] = must(must(key())(t).SignDetachedAt(files[rpm.RepomdName], time.Unix(fixed, 0)))(t)
	must0(os.MkdirAll(filepath.Join(dir, "repodata"), 0o755))
	for name, b := range files {
		must0(os.WriteFile(filepath.Join(dir, "repodata", name), b, 0o644))
	}
}

func TestDNFInstallsWhatIsSignedAndRefusesAllElse(t *testing.T) {
	t.Parallel()
	by := must(entity())(t)
	svc := packed{name: "pilot-svc", requires: "ext-lib >= 1.0", files: "/usr/share/pilot-svc", by: by}
	lib := packed{name: "ext-lib", version: "1.2", files: "/usr/share/ext-lib", by: by}
	change := func(name string, at int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			file := must(filepath.Glob(filepath.Join(dir, name)))(t)[0]
			b := must(os.ReadFile(file))(t)
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			put(t, filepath.Dir(file), filepath.Base(file), b)
		}
	}
	for _, row := range []struct {
		name   string
		change func(*testing.T, string)
		want   string // what dnf complains of; it installs without
	}{
		{"untouched", func(*testing.T, string) {}, ""},
		{"one byte of a package changed", change("ext-lib*.rpm", -1), "ext-lib"},
		{"one byte of a package changed before the repository was signed", func(t *testing.T, dir string) {
			change("ext-lib*.rpm", -1)(t, dir)
			publish(t, dir)
		}, "ext-lib"},
		{"a package without signature", func(t *testing.T, dir string) {
			plain := lib
			plain.by = nil
			put(t, dir, plain.read(t).String()+".rpm", plain.bytes(t))
			publish(t, dir)
		}, "not signed"},
		{"repomd.xml changed", func(t *testing.T, dir string) {
			file := filepath.Join(dir, "repodata", rpm.RepomdName)
			write(t, file, strings.Replace(string(must(os.ReadFile(file))(t)), "1700000000", "1700000001", 1))
		}, "Bad GPG signature"},
		{"repomd.xml without signature", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "repodata", rpm.SignatureName)); err != nil {
				t.Fatal(err)
			}
		}, "repomd.xml.asc"},
		{"primary.xml.gz changed", change("repodata/primary.xml.gz", 40), "primary"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := published(t, svc, lib)
			row.change(t, dir)
			c := newClient(t, true, map[string]string{"pilot": dir})
			out, err := c.run("install", "pilot-svc")
			if row.want == "" {
				if err != nil {
					t.Fatalf("dnf: %v\n%s", err, out)
				}
				if got := c.installed(); !strings.Contains(got, "pilot-svc-1.0-1.noarch") || !strings.Contains(got, "ext-lib-1.2-1.noarch") {
					t.Errorf("installed are %s", got)
				}
				return
			}
			if err == nil || !strings.Contains(out, row.want) {
				t.Errorf("dnf: %v, want %q\n%s", err, row.want, out)
			}
		})
	}
}
