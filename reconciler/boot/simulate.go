package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// FEC simulates a front-end computer: it runs the boot client with nothing on its PATH but the applets of a Yocto image
// and Tools. It needs neither root nor chroot, so absolute paths of this machine stay in reach; and Debian's busybox
// finds all its own applets, whatever the PATH.
//
// It keeps its state in Dir between boots, as a computer with flash does. Methods of one FEC must not run side by side.
type FEC struct {
	Name        string
	Server      string   // address of the served tree; several are separated by blanks
	Dir         string   // absolute; created when missing
	Client      []byte   // the boot client of the site
	Keys        []string // files of public keys, copied at each boot
	Preview     int      // the pull request whose preview it boots; 0: what is published
	PreviewKeys []string // likewise of previews
	Token       string   // proves its reports; empty: none
	Busybox     string   // path of a busybox
	Emulator    string   // path of a user-mode emulator, for a busybox of another processor; empty: none
	Shell       string   // path of another shell to run the client; empty: busybox's own
	Tools       []string // paths of programs besides busybox: verifiers, dbus-daemon, zstd; they take the place of applets
	Without     []string // applets that this image lacks
	Env         []string // more of the environment, NAME=VALUE; the client's settings among others
}

// Outcome says how a boot ended.
type Outcome struct {
	Status int    // exit status of the client; -1 when it was killed
	State  string // running, fallback, init-failed or failed; of an interrupted boot fetching, installed or empty
	Serial string // of the manifest that State is about; 0 without one
	Slot   string // path of the slot that State is about; empty without one
	Detail string // why State is not better
	Log    string // path of what the boot wrote to its console
}

// Applets are those of a Yocto image that a FEC has on its PATH, as far as its busybox has them: openembedded-core's
// meta/recipes-core/busybox/busybox/defconfig with sha256sum.cfg, without what neither scripts nor the client call.
var Applets = strings.Fields(`[ ash awk basename cat chgrp chmod chown cmp cp cut date dd df diff dirname dmesg du echo
	env expr false find flock free grep gunzip gzip head hexdump hostname id ifconfig ip kill killall ln logger ls md5sum
	mkdir mkfifo mktemp mount mv nc netstat nohup od pidof ping printf ps pwd readlink realpath rm rmdir sed seq setsid sh
	sha256sum sleep sort start-stop-daemon stat strings sync tail tar tee test time touch tr true umount uname uniq
	unlink uptime usleep wc wget which whoami xargs xzcat yes zcat`)

// Root is the client's state folder, or that for the preview which it boots.
func (f *FEC) Root() string {
	if f.Preview > 0 {
		return f.path("root/previews", strconv.Itoa(f.Preview))
	}
	return f.path("root")
}

// Boot reboots: it ends what an earlier boot started, and runs the client until it exits or ctx ends. What the init
// scripts started keeps running. An error says that the boot could not be simulated.
func (f *FEC) Boot(ctx context.Context) (Outcome, error) {
	if err := f.Stop(); err != nil {
		return Outcome{}, err
	}
	if err := f.prepare(); err != nil {
		return Outcome{}, fmt.Errorf("prepare %s: %w", f.Name, err)
	}
	console, err := os.Create(f.path("console.log"))
	if err != nil {
		return Outcome{}, fmt.Errorf("boot %s: %w", f.Name, err)
	}
	// A file and no pipe: daemons keep it open.
	err = f.run(ctx, console)
	var exit *exec.ExitError
	if errors.As(err, &exit) || ctx.Err() != nil {
		err = nil
	}
	if err = errors.Join(err, console.Close()); err != nil {
		return Outcome{}, fmt.Errorf("boot %s: %w", f.Name, err)
	}
	return f.outcome(exit, ctx.Err() != nil)
}

// BootAll boots FECs, at most limit at a time. Outcomes have the order of the FECs.
func BootAll(ctx context.Context, fecs []*FEC, limit int) ([]Outcome, error) {
	outcomes := make([]Outcome, len(fecs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for i, f := range fecs {
		group.Go(func() (err error) {
			outcomes[i], err = f.Boot(ctx)
			return err
		})
	}
	return outcomes, group.Wait()
}

func (f *FEC) path(parts ...string) string {
	return filepath.Join(append([]string{f.Dir}, parts...)...)
}

// prepare makes the image: bin/ is the PATH, etc/ the configuration.
func (f *FEC) prepare() error {
	for _, dir := range []string{f.path("bin"), f.path("etc/keys"), f.path("etc/preview-keys")} {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			return err
		}
	}
	for _, applet := range Applets {
		if slices.Contains(f.Without, applet) {
			continue
		}
		if err := f.applet(applet); err != nil {
			return err
		}
	}
	for _, tool := range f.Tools {
		link := f.path("bin", filepath.Base(tool))
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(tool, link); err != nil {
			return err
		}
	}
	if err := errors.Join(copyKeys(f.Keys, f.path("etc/keys")), copyKeys(f.PreviewKeys, f.path("etc/preview-keys"))); err != nil {
		return err
	}
	conf := fmt.Sprintf("POMONA_SERVER=%s\nPOMONA_FEC=%s\nPOMONA_ROOT=%s\nPOMONA_KEYS=%s\nPOMONA_DATA_KEYS=%s\nPOMONA_PREVIEW_KEYS=%s\nPOMONA_TOKEN_FILE=%s\n",
		quote(f.Server), quote(f.Name), quote(f.path("root")), quote(f.path("etc/keys")), quote(f.path("etc/data-keys")), quote(f.path("etc/preview-keys")), quote(f.path("etc/token")))
	if f.Preview > 0 {
		conf += fmt.Sprintf("POMONA_PREVIEW=%d\n", f.Preview)
	}
	if err := os.Remove(f.path("etc/token")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if f.Token != "" {
		if err := os.WriteFile(f.path("etc/token"), []byte(f.Token+"\n"), 0o600); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(f.path("etc/boot.conf"), []byte(conf), 0o644),
		os.WriteFile(f.path("etc/cmdline"), nil, 0o644), // not this machine's
		os.WriteFile(f.path("etc/pomona-boot"), f.Client, 0o755),
		os.WriteFile(f.path("etc/pomona-fec"), command, 0o755),
		os.WriteFile(f.path("etc/boot"), f.script("exec "+quote(f.shell())+" "+quote(f.path("etc/pomona-boot"))+` "$@"`), 0o755),
		os.WriteFile(f.path("etc/reboot"), f.script(">"+quote(f.path("reboot"))), 0o755),
		os.WriteFile(f.Command(), f.script("exec "+quote(f.shell())+" "+quote(f.path("etc/pomona-fec"))+` "$@"`), 0o755),
		os.RemoveAll(filepath.Join(f.Root(), "run")),
	)
}

func copyKeys(files []string, to string) error {
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(file)), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// applet puts one applet on the PATH: a link, or for another processor a file that the kernel gives to the emulator.
func (f *FEC) applet(name string) error {
	if f.Emulator == "" {
		return os.Symlink(f.Busybox, f.path("bin", name))
	}
	return os.WriteFile(f.path("bin", name), []byte("#!"+f.Emulator+" "+f.Busybox+"\n"), 0o755)
}

// Command is a program of this machine that is pomona-fec in the FEC, for a forced command of ssh: it is there once the FEC
// has booted. A reboot that it is asked for leaves the file reboot in Dir, for whoever boots the FEC.
func (f *FEC) Command() string { return f.path("etc/command") }

func (f *FEC) shell() string { return cmp.Or(f.Shell, f.path("bin/sh")) }

func (f *FEC) environment() []string {
	return append([]string{"PATH=" + f.path("bin"), "HOME=" + f.Dir, f.marker(),
		"POMONA_CONF=" + f.path("etc/boot.conf"), "POMONA_CMDLINE=" + f.path("etc/cmdline"),
		"POMONA_BOOT=" + f.path("etc/boot"), "POMONA_REBOOT=" + f.path("etc/reboot")}, f.Env...)
}

// script is a program of this machine that does something in the environment of the FEC.
func (f *FEC) script(does string) []byte {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, entry := range f.environment() {
		b.WriteString("export " + quote(entry) + "\n")
	}
	return []byte(b.String() + does + "\n")
}

func (f *FEC) run(ctx context.Context, console *os.File) error {
	c := exec.CommandContext(ctx, f.shell(), f.path("etc/pomona-boot"))
	c.Dir = f.Dir
	c.Env = f.environment()
	c.Stdout, c.Stderr = console, console
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Cancel = f.Stop
	return c.Run()
}

// outcome reads the state that the client left. The states are words of the report protocol.
func (f *FEC) outcome(exit *exec.ExitError, interrupted bool) (Outcome, error) {
	o := Outcome{Log: f.path("console.log")}
	if exit != nil {
		o.Status = exit.ExitCode()
	} else if interrupted {
		o.Status = -1
	}
	b, err := os.ReadFile(filepath.Join(f.Root(), "run/state"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return o, fmt.Errorf("read state of %s: %w", f.Name, err)
	}
	words := strings.SplitN(strings.TrimSuffix(string(b), "\n"), " ", 4)
	if len(words) < 4 {
		return o, nil // killed before it wrote any, or while it did
	}
	o.State, o.Serial, o.Detail = words[0], words[1], words[3]
	if words[2] != "" {
		o.Slot = filepath.Join(f.Root(), "slots", words[2])
	}
	return o, nil
}
