package reconciler

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// NoBuilderError says that this machine cannot make a clean one.
type NoBuilderError struct{ System, Why string }

// Error says what is missing.
func (e *NoBuilderError) Error() string {
	return fmt.Sprintf("no clean machine of %s can be made here: %s; nothing was tested, and no evidence is written", e.System, e.Why)
}

// Trier tries prerequisites on clean machines: containers in a chroot, made of the distribution's own packages or of an image.
type Trier struct {
	Folder string    // where clean machines are kept; they are made anew after a day
	Output io.Writer // gets what jobs print
	Now    func() time.Time
	Begins func() // is told once there is a clean machine, before anything is tried; may be nil
}

// freshBase is how long a clean machine is used again.
const freshBase = 24 * time.Hour

// changedLine is what the install script prints last.
const changedLine = "changed="

// Try tries every version of every prerequisite that a system can get, or of some of them: each on a clean machine, each job by itself.
func (t *Trier) Try(ctx context.Context, site desired.Site, system string, only []string) ([]Evidence, error) {
	s, ok := site.Settings.Systems[system]
	if !ok {
		if near := didYouMean(system, site.Settings.Systems); near != "" {
			return nil, fmt.Errorf("the site has no system %q: %s", system, near)
		}
		return nil, fmt.Errorf("the site has no system %q: declare it in site.systems", system)
	}
	for _, name := range only {
		if _, ok := site.Prerequisites[name]; !ok {
			return nil, unknownPrerequisite(site, name)
		}
	}
	if err := t.able(system, s); err != nil {
		return nil, err
	}
	files, err := t.write(site)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(files) // what is left is in the folder for temporary files
	base, err := t.base(ctx, system, s)
	if err != nil {
		return nil, err
	}
	if t.Begins != nil {
		t.Begins()
	}
	var out []Evidence
	for _, name := range tree.PrerequisitesInOrder(site) {
		p := site.Prerequisites[name]
		if _, has := p.Systems[system]; !has || len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		d, err := tree.PrerequisiteDigest(site, name)
		if err != nil {
			return nil, err
		}
		for i, v := range p.Versions(system) {
			from := ""
			if i == 0 {
				from = p.UpgradeFrom(system)
			}
			jobs, err := t.jobs(ctx, trialBuild{files, base, system, rand.Text()}, name, v, from)
			if err == nil {
				err = t.must(ctx, "buildah", t.store("rmi", "--prune", "--force")...)
			}
			if err != nil {
				return nil, err
			}
			out = append(out, Evidence{Prerequisite: name, Of: "sha256:" + d.String(), Record: desired.PrerequisiteRecord{
				Kind: desired.TrialRecord, System: system, Version: v, Jobs: jobs, At: t.Now().UTC().Format(time.RFC3339),
			}})
		}
	}
	return out, nil
}

// able says why no clean machine can be made.
func (t *Trier) able(system string, s desired.System) error {
	lacks := func(programs ...string) string {
		for _, program := range programs {
			if _, err := exec.LookPath(program); err != nil {
				return program + " is not installed"
			}
		}
		return ""
	}
	why := ""
	switch {
	case s.Family == desired.MacOS:
		why = "macos runs in no container"
	case os.Geteuid() != 0:
		why = "that needs root"
	case s.Family == desired.Debian:
		why = lacks("mmdebstrap", "buildah", "crun")
	default:
		if why = lacks("buildah", "crun"); why == "" && s.Image == "" {
			why = "site.systems says no image of it"
		}
	}
	if why != "" {
		return &NoBuilderError{system, why}
	}
	return nil
}

// write writes what is rendered into a folder.
func (t *Trier) write(site desired.Site) (dir string, err error) {
	nodes, err := tree.Prerequisites(site)
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "pomona-prerequisites-"); err != nil {
		return "", err
	}
	if err = WriteNodes(dir, nodes); err != nil {
		_ = os.RemoveAll(dir) // the error says what is wrong
	}
	return dir, err
}

// WriteNodes writes rendered files into a folder. Others in it stay.
func WriteNodes(dir string, nodes []tree.Node) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() // every write reports its own error
	for _, n := range nodes {
		mode := fs.FileMode(0o644)
		if n.Mode == artifact.Executable {
			mode = 0o755
		}
		err := root.MkdirAll(filepath.Dir(n.Path), 0o755)
		if err == nil {
			err = root.WriteFile(n.Path, n.Data, mode)
		}
		if err == nil {
			err = root.Chmod(n.Path, mode) // it may have been there
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", n.Path, err)
		}
	}
	return nil
}

// base is the image of a clean machine. One of Debian's kin is made of the distribution's packages, any other is pulled.
func (t *Trier) base(ctx context.Context, system string, s desired.System) (string, error) {
	if s.Family != desired.Debian {
		return s.Image, t.pull(ctx, system, s.Image)
	}
	image, dir := "localhost/pomona-clean-"+system, filepath.Join(t.Folder, "clean", system)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	archive := filepath.Join(dir, "rootfs.tar")
	info, err := os.Stat(archive)
	if err == nil && t.Now().Sub(info.ModTime()) < freshBase {
		if code, _, err := t.run(ctx, "buildah", t.store("images", "-q", image)...); err == nil && code == 0 {
			return image, nil
		}
	} else {
		args := []string{"--variant=apt", "--mode=root", "--format=tar", s.Release, archive + ".new"}
		if s.Mirror != "" {
			args = append(args, s.Mirror)
		}
		if err := t.must(ctx, "mmdebstrap", args...); err != nil {
			return "", err
		}
		if err := os.Rename(archive+".new", archive); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, tree.Containerfile), []byte("FROM scratch\nADD rootfs.tar /\n"), 0o600); err != nil {
		return "", err
	}
	return image, t.must(ctx, "buildah", t.store("bud", "--isolation", "chroot", "-q", "-t", image, dir)...)
}

// pull gets an image before anything is tried on it: what cannot be had says nothing about what would be.
func (t *Trier) pull(ctx context.Context, system, image string) error {
	code, out, err := t.run(ctx, "buildah", t.store("pull", image)...)
	if err == nil && code != 0 {
		err = &NoBuilderError{system, fmt.Sprintf("image %s cannot be pulled: %s", image, lastLine(out))}
	}
	return err
}

// store are arguments of buildah with a storage of its own.
func (t *Trier) store(args ...string) []string {
	return append([]string{"--root", filepath.Join(t.Folder, "store"), "--runroot", filepath.Join(t.Folder, "run"), "--storage-driver", "vfs"}, args...)
}

// trialBuild is what stages are built of.
type trialBuild struct{ files, base, system, trial string }

// jobs runs the jobs of one version, each a stage of the Containerfile: none that stands on one that has failed.
func (t *Trier) jobs(ctx context.Context, b trialBuild, name, version, from string) (jobs desired.TrialJobs, err error) {
	want := name + "=" + version
	if jobs.Install, err = t.stage(ctx, b, "install", want, ""); err != nil || jobs.Install.Exit != 0 {
		return jobs, err
	}
	if jobs.Again, err = t.stage(ctx, b, "again", want, ""); err != nil {
		return jobs, err
	}
	if jobs.Verify, err = t.stage(ctx, b, "verify", want, ""); err != nil || from == "" {
		return jobs, err
	}
	if jobs.Upgrade, err = t.stage(ctx, b, "upgrade", want, name+"="+from); err == nil {
		jobs.Upgrade.From = from
	}
	return jobs, err
}

// stage builds one stage, and says how that ended.
func (t *Trier) stage(ctx context.Context, b trialBuild, stage, want, previous string) (*desired.JobResult, error) {
	fmt.Fprintf(t.Output, "== %s %s on %s\n", stage, want, b.system)
	args := t.store("bud", "--isolation", "chroot", "--network", "host", "--layers", "--target", stage,
		"--build-arg", "BASE="+b.base, "--build-arg", "WANT="+want, "--build-arg", "TRIAL="+b.trial, "--build-arg", "PREVIOUS="+previous)
	code, out, err := t.run(ctx, "buildah", append(args, "-f", filepath.Join(b.files, b.system, tree.Containerfile), b.files)...)
	if err != nil {
		return nil, err
	}
	result := &desired.JobResult{Exit: code}
	if stage == "again" {
		result.Changed = changedIn(out)
	}
	if code != 0 && !bytes.Contains(out, []byte(`at STEP "RUN /prerequisites/`)) { // the builder itself has failed, and nothing was tried
		result.Inconclusive = clipped("the builder ended with " + strconv.Itoa(code) + ": " + lastLine(out))
	}
	return result, nil
}

// changedIn is what an install script says that it has changed; nil: nothing.
func changedIn(out []byte) (n *int) {
	for line := range bytes.Lines(out) {
		if after, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte(changedLine)); ok {
			if v, err := strconv.Atoi(string(after)); err == nil && v >= 0 {
				n = &v
			}
		}
	}
	return n
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// clipped is a sentence as records have them.
func clipped(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > 500 {
		s = string(r[:500])
	}
	return s
}

// must runs a program that has to succeed for anything to be tried.
func (t *Trier) must(ctx context.Context, program string, args ...string) error {
	code, out, err := t.run(ctx, program, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("make a clean machine: %s ended with %d: %s", program, code, lastLine(out))
	}
	return err
}

// run runs a program, and gives its own end and what it printed last.
func (t *Trier) run(ctx context.Context, program string, args ...string) (int, []byte, error) {
	var kept tail
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout = io.MultiWriter(t.Output, &kept)
	cmd.Stderr = cmd.Stdout
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, nil, ctx.Err()
	case errors.As(err, &ended) && ended.Exited():
		return ended.ExitCode(), kept.b, nil
	case err != nil:
		return 0, nil, fmt.Errorf("run %s: %w", program, err)
	}
	return 0, kept.b, nil
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if len(t.b) > 1<<17 {
		t.b = bytes.Clone(t.b[len(t.b)-1<<16:])
	}
	return len(b), nil
}
