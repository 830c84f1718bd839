package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// project is a software project that releases itself, with what `pomona release` has printed for it.
type project struct {
	releases
	source string
}

func newProject(t *testing.T) project {
	t.Helper()
	r := newReleases(t)
	p := project{r, filepath.Join(r.dir, "bpm-fesa")}
	if err := os.Mkdir(p.source, 0o755); err != nil {
		t.Fatal(err)
	}
	p.serveUploads()
	t.Setenv("PATH", filepath.Dir(binary)+":"+os.Getenv("PATH"))
	t.Setenv("POMONA_SITE", r.site)
	t.Setenv("POMONA_TO", "http://"+p.address)
	t.Setenv("POMONA_CREDENTIAL", p.address+"="+r.token)
	t.Setenv("POMONA_CACHE", filepath.Join(r.dir, "cache"))
	return p
}

func (p project) file(name, content string) {
	p.t.Helper()
	p.put(filepath.Join(p.source, name), []byte(content))
}

func (p project) sh(command string, args ...string) (said string, code int) {
	p.t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Dir = p.source
	out, errs, code := runCommand(p.t, cmd)
	return out + errs, code
}

// served checks that the service publishes a version that holds a program which says something.
func (p project) served(version, says string) {
	p.t.Helper()
	p.follows("the release is published")
	tgz := filepath.Join(p.root, "current/software/bpm-fesa", version, "bpm-fesa-"+version+".tar.gz")
	dir := p.t.TempDir()
	if out, err := exec.Command("tar", "-xzf", tgz, "-C", dir).CombinedOutput(); err != nil {
		p.t.Fatalf("unpack: %v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(dir, "opt/fesa/bpm", version, "bin/bpm-fesa")).Output()
	if err != nil || strings.TrimSpace(string(out)) != says {
		p.t.Errorf("the program says %q, %v; want %q", out, err, says)
	}
}

// TestReleaseByMake adds one line to a Makefile.
func TestReleaseByMake(t *testing.T) {
	make := debian(t, "make", "make")
	p := newProject(t)
	p.file("pomona.mk", must(t, "release", "--print", "make"))
	p.file("Makefile", "all:\n\tmkdir -p build/bin && printf '#!/bin/sh\\necho by make\\n' >build/bin/bpm-fesa && chmod +x build/bin/bpm-fesa\ninstall: all\ninclude pomona.mk\n")
	git(t, p.source, "init", "-q")
	git(t, p.source, "add", "-A")
	git(t, p.source, "commit", "-qm", "first")
	if said, code := p.sh(make, "install"); code == 0 || !strings.Contains(said, "no tag names this commit") {
		t.Errorf("without a tag: exit code %d\n%s", code, said)
	}
	git(t, p.source, "tag", "v3.2.0")
	if said, code := p.sh(make, "install", "POMONA_ARGS=--pin kgp1bp01"); code != 0 || !strings.Contains(said, "released bpm-fesa 3.2.0") {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	p.served("3.2.0", "by make")
	if said, code := p.sh(make, "install"); code != 0 || !strings.Contains(said, "nothing to do") {
		t.Errorf("again: exit code %d\n%s", code, said)
	}
	if said, code := p.sh(make, "pomona-dev"); code != 0 || !strings.Contains(said, "released bpm-fesa dev") {
		t.Errorf("dev: exit code %d\n%s", code, said)
	}
	if said, code := p.sh(make, "-n", "--no-print-directory", "pomona-dev", "POMONA_FECS=kgp1bp01 kgp2bp01"); code != 0 || strings.TrimSpace(said) != "pomona dev --start  -- 'bpm-fesa' 'build' kgp1bp01 kgp2bp01" {
		t.Errorf("straight to FECs: exit code %d\n%s", code, said)
	}
}

// TestReleaseByCMake adds one line to a CMakeLists.txt.
func TestReleaseByCMake(t *testing.T) {
	cmake := debian(t, "cmake", "cmake")
	debian(t, "make", "make")
	p := newProject(t)
	p.file("Pomona.cmake", must(t, "release", "--print", "cmake"))
	p.file("program", "#!/bin/sh\necho by cmake\n")
	lists := "cmake_minimum_required(VERSION 3.16)\nproject(bpm-fesa VERSION 3.2.0 LANGUAGES NONE)\ninstall(PROGRAMS program RENAME bpm-fesa DESTINATION bin)\ninclude(Pomona.cmake)\n"
	p.file("CMakeLists.txt", lists+"pomona_release(PIN kgp1bp01 kgp2bp01)\npomona_release(VERSION dev TARGET pomona-dev)\n")
	if said, code := p.sh(cmake, "-S", ".", "-B", "build"); code != 0 {
		t.Fatalf("configure: exit code %d\n%s", code, said)
	}
	said, code := p.sh(cmake, "--build", "build", "--target", "pomona-release")
	if code != 0 || !strings.Contains(said, "released bpm-fesa 3.2.0") || !strings.Contains(said, "moved to it: kgp1bp01, kgp2bp01") {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	p.served("3.2.0", "by cmake")
	if said, code := p.sh(cmake, "--build", "build", "--target", "pomona-dev"); code != 0 || !strings.Contains(said, "released bpm-fesa dev") {
		t.Errorf("dev: exit code %d\n%s", code, said)
	}
	p.file("program", "#!/bin/sh\necho changed\n")
	if said, code := p.sh(cmake, "--build", "build", "--target", "pomona-release"); code == 0 || !strings.Contains(said, "there already with other content") {
		t.Errorf("changed: exit code %d\n%s", code, said)
	}
	p.file("CMakeLists.txt", lists+"pomona_release(PINS kgp1bp01)\n")
	if said, code := p.sh(cmake, "-S", ".", "-B", "build"); code == 0 || !strings.Contains(said, "unknown argument PINS") {
		t.Errorf("unknown argument: exit code %d\n%s", code, said)
	}
}

// TestYoctoFesa3 calls the drop-in script as a plugin does, with every exit code that it promises.
func TestYoctoFesa3(t *testing.T) {
	p := newProject(t)
	script := filepath.Join(p.dir, "yocto-fesa3")
	p.put(script, []byte(must(t, "release", "--print", "yocto-fesa3")))
	shells := [][]string{{"sh"}}
	for _, s := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(s[0]); err == nil {
			shells = append(shells, s)
		}
	}
	config := filepath.Join(p.dir, "config")
	for _, name := range []string{"POMONA_SITE", "POMONA_TO"} {
		if err := os.Unsetenv(name); err != nil { // t.Setenv has seen to what was before
			t.Fatal(err)
		}
	}
	settings := "# of the laboratory\n\nPOMONA_SITE=" + p.site + "\nPOMONA_TO=http://" + p.address + "\n"
	for n, shell := range shells {
		call := func(args ...string) (string, int) {
			return p.sh(shell[0], append(append(append([]string{}, shell[1:]...), script), args...)...)
		}
		expect := func(what string, want int, says string, args ...string) {
			t.Helper()
			if said, code := call(args...); code != want || !strings.Contains(said, says) {
				t.Errorf("%v: %s: exit code %d, want %d and %q:\n%s", shell, what, code, want, says, said)
			}
		}
		p.put(config, []byte(settings))
		version := fmt.Sprintf("3.%d.0", n+4)
		p.build("#!/bin/sh\necho " + version)
		expect("release", 0, "released bpm-fesa "+version, "-c", config, "-f", "kgp1bp01", "-f", "kgp2bp01", "bpm-fesa", version, p.folder)
		p.served(version, version)
		expect("again", 0, "nothing to do", "-c", config, "bpm-fesa", version, p.folder)
		p.build("other " + strings.Join(shell, " "))
		expect("taken", 4, "there already with other content", "-c", config, "bpm-fesa", version, p.folder)
		expect("development", 0, "released bpm-fesa dev", "-c", config, "-d", "bpm-fesa", "dev", p.folder)
		expect("unknown", 1, `did you mean "bpm-fesa"`, "-c", config, "bpm-fessa", "9.0", p.folder)
		expect("no such FEC", 1, "no such FEC", "-c", config, "-f", "kgp9bp09", "bpm-fesa", "9.0", p.folder)
		expect("arguments", 2, "yocto-fesa3 [-d]", "-c", config, "bpm-fesa", "9.0")
		expect("option", 2, "yocto-fesa3 [-d]", "-x", "bpm-fesa", "9.0", p.folder)
		expect("folder", 2, "build the deploy-unit first", "-c", config, "bpm-fesa", "9.0", "nowhere")
		expect("dev without -d", 2, "say so with -d", "-c", config, "bpm-fesa", "dev", p.folder)
		expect("settings", 2, "cannot read settings", "-c", "nowhere", "bpm-fesa", "9.0", p.folder)
		expect("name with a dash", 1, "the site has no such software", "-c", config, "--", "-x", "9.0", p.folder)
		expect("dry", 0, "release --dev --platform=a b --pin=x -- bpm-fesa 9.0 "+p.folder, "-n", "-d", "-p", "a b", "-f", "x", "-c", config, "bpm-fesa", "9.0", p.folder)
		p.put(config, []byte(settings+"POMONA=nowhere\n"))
		expect("program", 2, "no program nowhere", "-c", config, "bpm-fesa", "9.0", p.folder)
		p.put(config, []byte(settings+"PATH=/\n"))
		expect("setting", 2, "unknown setting PATH", "-c", config, "bpm-fesa", "9.0", p.folder)
		p.put(config, []byte("POMONA_SITE=$(touch "+p.dir+"/run)`touch "+p.dir+"/run`\nPOMONA_TO=http://"+p.address+"\n"))
		expect("nothing is run", 2, "", "-c", config, "bpm-fesa", "9.0", p.folder)
		if _, err := os.Stat(filepath.Join(p.dir, "run")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: settings are run: %v", shell, err)
		}
		p.put(config, []byte("POMONA_SITE="+p.site+"\nPOMONA_TO=http://127.0.0.1:1\n"))
		t.Setenv("POMONA_CREDENTIAL", "127.0.0.1:1="+p.token)
		expect("unavailable", 3, "is unavailable", "-c", config, "bpm-fesa", "9.0", p.folder)
		t.Setenv("POMONA_CREDENTIAL", p.address+"="+p.token)
		p.secret(p.token, otherToken)
		p.put(config, []byte(settings))
		expect("token", 2, "does not accept the token", "-c", config, "bpm-fesa", "9.0", p.folder)
		p.secret(p.token, goodToken)
	}
}

func TestFragmentsAreCleanShell(t *testing.T) {
	shellcheck := debian(t, "shellcheck", "shellcheck")
	file := filepath.Join(t.TempDir(), "yocto-fesa3")
	if err := os.WriteFile(file, []byte(must(t, "release", "--print", "yocto-fesa3")), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(shellcheck, file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, errs, code := pomona(t, "release", "--print", "ninja"); code != 2 || !strings.Contains(errs, "want make, cmake or yocto-fesa3") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}
