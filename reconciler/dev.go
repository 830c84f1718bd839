package reconciler

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// Dev is what a build has left, packed for FECs that run it beside their release until they boot.
type Dev struct {
	Name     string          `json:"name"`
	Version  string          `json:"version"` // dev- and the first digits of the digest
	Install  string          `json:"install"`
	Platform string          `json:"platform"` // key of the payload that it stands for
	Digest   artifact.Digest `json:"sha256"`
	Size     int64           `json:"size"` // bytes

	open func() (io.ReadCloser, error)
}

// PackDev packs a build folder as a release of it would be packed. The FECs must all take the same payload; Platform and Install of
// the release may be empty.
func PackDev(ctx context.Context, site desired.Site, rel Release, fecs []string, payloads *fetch.Fetcher) (Dev, error) {
	rel.Version, rel.Dev, rel.Format = desired.Dev, true, artifact.Gzip
	if _, known := site.Software[rel.Name]; !known {
		return Dev{}, rel.unknown(site)
	}
	if err := rel.fits(site, fecs); err != nil {
		return Dev{}, err
	}
	rel, err := rel.complete(site)
	if err != nil {
		return Dev{}, err
	}
	made, err := (&Releaser{Payloads: payloads}).packFolder(ctx, rel)
	if err != nil {
		return Dev{}, err
	}
	return Dev{
		Name: rel.Name, Version: "dev-" + made.Digest.String()[:12], Install: rel.Install, Platform: rel.Platform, Digest: made.Digest, Size: made.Size,
		open: func() (io.ReadCloser, error) { return payloads.Open(made.Digest) },
	}, nil
}

// fits finds the payload that all the FECs take.
func (rel *Release) fits(site desired.Site, fecs []string) error {
	var problems desired.Problems
	for _, name := range fecs {
		f, known := site.FECs[name]
		switch {
		case !known:
			problems = append(problems, UnknownFEC(site, name))
		case !slices.Contains(site.Settings.Platforms[f.Platform].Unpack, artifact.Gzip):
			problems = append(problems, desired.Problem{
				Path: desired.CUEPath("fecs", name, "platform"), Text: fmt.Sprintf("platform %s does not unpack gzip, in which it would come", f.Platform),
			})
		default:
			if key := payloadKey(site.Software[rel.Name], f.Platform); rel.Platform == "" {
				rel.Platform = key
			} else if key != rel.Platform {
				problems = append(problems, desired.Problem{
					Path: desired.CUEPath("fecs", name, "platform"), Text: fmt.Sprintf("%s takes the payload for %s, not that for %s", f.Platform, key, rel.Platform),
					Advice: "give FECs of one platform at a time",
				})
			}
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// UnknownFEC says that a site has no such FEC.
func UnknownFEC(site desired.Site, name string) desired.Problem {
	return desired.Problem{Path: desired.CUEPath("fecs", name), Text: "the site has no such FEC", Advice: didYouMean(name, site.FECs)}
}

// payloadKey is that of the payload which a platform takes of a software's newest version that has one.
func payloadKey(sw desired.Software, platform string) string {
	for _, v := range descending(sw) {
		if _, key, ok := sw.Versions[v].For(platform); ok {
			return key
		}
	}
	return desired.AnyPlatform
}

// Bench is one FEC that a developer works on, over ssh.
type Bench struct {
	SSH  *remote.SSH
	Host remote.Host
}

// Has are the versions of software that developers have put on the FEC since its last boot.
func (b Bench) Has(ctx context.Context) (map[string]string, error) {
	var out bytes.Buffer
	if err := b.SSH.Run(ctx, b.Host, "pomona-fec status", nil, &out); err != nil {
		return nil, b.explain(err)
	}
	lines := strings.Split(out.String(), "\n")
	if lines[0] != "pomona-fec 1" || len(lines) < 2 || lines[len(lines)-2] != "end" {
		return nil, fmt.Errorf("%s: what answers is not pomona-fec: %.60q", b.Host, out.String())
	}
	has := map[string]string{}
	for _, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case word == "fec" && rest == "":
			return nil, fmt.Errorf("%s: it has no release installed to stand on: boot it first", b.Host)
		case word == "fec" && rest != b.Host.Name:
			return nil, fmt.Errorf("%s: this is %s: nothing was done", b.Host, rest)
		case word == "dev":
			name, version, _ := strings.Cut(rest, " ")
			has[name] = version
		}
	}
	return has, nil
}

// Put copies a build to the FEC, unless it is there already. Nothing is started.
func (b Bench) Put(ctx context.Context, d Dev) (there bool, err error) {
	has, err := b.Has(ctx)
	if err != nil || has[d.Name] == d.Version {
		return err == nil, err
	}
	in, err := d.open()
	if err != nil {
		return false, err
	}
	defer in.Close() // only read
	return false, b.do(ctx, fmt.Sprintf("put %s %s %s %s", d.Name, d.Version, d.Digest, d.Install), in, io.Discard)
}

// Do starts, stops or drops what was put there of a software; said gets what the FEC says about it.
func (b Bench) Do(ctx context.Context, verb, software string, said io.Writer) error {
	if _, err := b.Has(ctx); err != nil {
		return err
	}
	return b.do(ctx, verb+" "+software, nil, said)
}

// Follow passes on what a software logs, line by line, until the context ends.
func (b Bench) Follow(ctx context.Context, software string, line func(string)) error {
	in, done := io.Pipe() // while it is open the FEC goes on
	defer done.Close()
	out, said := io.Pipe()
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			line(lines.Text())
		}
		_ = out.CloseWithError(lines.Err()) // a line of 64 KiB ends it
	}()
	err := b.do(ctx, "log "+software, in, said)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (b Bench) do(ctx context.Context, command string, in io.Reader, out io.Writer) error {
	return b.explain(b.SSH.Run(ctx, b.Host, "pomona-fec dev "+command, in, out))
}

// explain says what to do about a FEC that does not know or not allow what is asked.
func (b Bench) explain(err error) error {
	var exit *remote.ExitError
	switch {
	case !errors.As(err, &exit):
	case exit.Status == 127:
		return fmt.Errorf("%w\nput fecs/global/pomona-fec of the site into its image, as /usr/sbin/pomona-fec", err)
	case exit.Status == 126:
		return fmt.Errorf("%w\nits authorized_keys must allow this key status,dev", err)
	}
	return err
}
