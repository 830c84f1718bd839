package crowd

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// Exit statuses, as those of pomona-fec.
const (
	ok        = 0
	failed    = 1
	inhibited = 3
	refused   = 126
)

// obey does what pomona-fec does for the same command.
func (f *FEC) obey(command string, in io.Reader, stdout, stderr io.Writer) (status int) {
	words := strings.Fields(command)
	if len(words) > 0 && words[0] == "pomona-fec" {
		words = words[1:]
	}
	switch {
	case len(words) == 1 && words[0] == "status":
		f.tell(stdout)
	case len(words) >= 3 && words[0] == "restart":
		return f.again(words, stdout, stderr, func(ctx context.Context) { f.start(ctx) })
	case len(words) == 2 && words[0] == "reboot":
		return f.again(words, stdout, stderr, func(ctx context.Context) { f.Boot(ctx) })
	case len(words) == 6 && slices.Equal(words[:5], []string{"tar", "-cf", "-", "-C", Data}):
		return f.archive(words[5], stdout, stderr)
	case len(words) >= 3 && words[0] == "dev":
		return f.obeyDev(words[1:], in, stdout, stderr)
	default:
		return refuse(stderr, refused, "%q is not allowed", command)
	}
	return ok
}

func refuse(stderr io.Writer, status int, format string, args ...any) int {
	fmt.Fprintf(stderr, "pomona-fec: "+format+"\n", args...)
	return status
}

// tell answers status.
func (f *FEC) tell(stdout io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	fmt.Fprintf(stdout, "pomona-fec 1\nfec %s\n", f.Name)
	if s.State != "" {
		fmt.Fprintln(stdout, strings.TrimSpace(fmt.Sprintf("state %s %d %s %s", s.State, s.Serial, s.Slot, s.Detail)))
	}
	if f.asked != "" {
		fmt.Fprintf(stdout, "asked %s\n", f.asked)
	}
	if f.slot != "" {
		fmt.Fprintf(stdout, "current %s\n", f.slot)
	}
	fmt.Fprintf(stdout, "boot %s\n", f.bootID())
	if f.inhibit != "" {
		fmt.Fprintf(stdout, "inhibit %s\n", f.inhibit)
	}
	for _, name := range slices.Sorted(maps.Keys(f.dev)) {
		fmt.Fprintf(stdout, "dev %s %s\n", name, f.dev[name].Version)
	}
	fmt.Fprintln(stdout, "end")
}

// bootID is another after each reboot, in the form that the kernel gives it.
func (f *FEC) bootID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "boot %d %s %d", f.crowd.settings.Seed, f.Name, f.status.Boots))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// again accepts to start what is published once more, and does it when that is said. What it told of itself before is over.
func (f *FEC) again(words []string, stdout, stderr io.Writer, what func(context.Context)) int {
	f.mu.Lock()
	inhibit := f.inhibit
	if inhibit == "" {
		f.asked, f.status.State = words[0]+" "+words[1], ""
	}
	f.mu.Unlock()
	if inhibit != "" {
		return refuse(stderr, inhibited, "inhibited: %s", inhibit)
	}
	fmt.Fprintln(stdout, "accepted")
	f.crowd.do(what)
	return ok
}

// archive answers tar with what lies below a path of current.
func (f *FEC) archive(below string, stdout, stderr io.Writer) int {
	if path.IsAbs(below) || path.Clean(below) != below || strings.HasPrefix(below, "..") {
		return refuse(stderr, refused, "%q is not allowed", below)
	}
	f.mu.Lock()
	files := maps.Clone(f.files)
	f.mu.Unlock()
	maps.DeleteFunc(files, func(name string, _ []byte) bool { return name != below && !strings.HasPrefix(name, below+"/") })
	if len(files) == 0 {
		fmt.Fprintf(stderr, "tar: %s: No such file or directory\n", below)
		return failed
	}
	w := tar.NewWriter(stdout)
	for _, name := range slices.Sorted(maps.Keys(parents(below, files))) {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Format: tar.FormatGNU})
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name])), Format: tar.FormatGNU})
		_, _ = w.Write(files[name])
	}
	if err := w.Close(); err != nil {
		return failed // whoever asked is gone
	}
	return ok
}

// parents are the folders of files, from below on.
func parents(below string, files map[string][]byte) map[string]bool {
	folders := map[string]bool{}
	for name := range files {
		for dir := path.Dir(name); len(dir) >= len(below); dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	return folders
}
