package boot_test

import (
	"bytes"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/boot"
)

func rendered() []byte {
	return boot.Client(boot.Settings{Site: "linac", Channel: "production", Servers: []string{"http://pomona.acc.example.org"}})
}

func TestClientPassesShellcheck(t *testing.T) {
	pipe(t, exec.Command(need(t, "shellcheck", "install shellcheck"), "-s", "sh", "-"))
}

func TestBusyboxReadsTheClient(t *testing.T) {
	pipe(t, exec.Command(busybox(t), "sh", "-n"))
}

func pipe(t *testing.T, c *exec.Cmd) {
	t.Helper()
	c.Stdin = bytes.NewReader(rendered())
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", c, err, out)
	}
}

// TestSettingsAreQuoted has the shell give back what was fixed in the client.
func TestSettingsAreQuoted(t *testing.T) {
	s := boot.Settings{Site: "a'b$(exit 3)`exit 4`", Channel: "@SERVERS@", Servers: []string{"http://a/?\"x", "http://b\n#"}, RequireFresh: true}
	text, _, ok := strings.Cut(string(boot.Client(s)), "\nCLIENT=")
	if !ok {
		t.Fatal("no end of the settings")
	}
	out, err := exec.Command(busybox(t), "sh", "-c", text+"\n"+`printf '%s|%s|%s|%s|%s' "$SITE" "$CHANNEL" "$SERVERS" "$REQUIRE_FRESH" "$ALLOW_UNVERIFIED"`).Output()
	if want := s.Site + "|" + s.Channel + "|" + strings.Join(s.Servers, " ") + "|1|0"; err != nil || string(out) != want {
		t.Errorf("the shell reads %q, want %q: %v", out, want, err)
	}
}

// command finds the first word of each command of the client, well enough for its style.
var command = regexp.MustCompile(`(?m)(?:^\s*|[|&;{!]\s+|\$\(|\(\s*|\b(?:then|else|do|if|while|until|exec)\s+)([a-z][a-z0-9_.-]*)(?:\s|$|;)`)

// TestClientUsesOnlyWhatYoctoHas looks at every word in the place of a command.
func TestClientUsesOnlyWhatYoctoHas(t *testing.T) {
	text := regexp.MustCompile(`(?m)^\s*#.*$|\s# .*$`).ReplaceAllString(string(rendered()), "")
	text = regexp.MustCompile(`[a-z]'s\b`).ReplaceAllString(text, "s")
	text = regexp.MustCompile(`'[^']*'`).ReplaceAllString(text, "''")
	text = regexp.MustCompile(`(?m)^[a-z_]+=.*(?:\\\n.*)*$|\$\(\(.*?\)\)`).ReplaceAllString(text, "")
	known := append(strings.Fields(`. break case cd command continue do done echo elif else esac eval exec exit export fi for
		if in read return set shift then trap type ulimit umask unset until wait while
		hostnomen curl zstd usign signify openssl pomona-verify`), boot.Applets...)
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)\(\) \{`).FindAllStringSubmatch(text, -1) {
		known = append(known, m[1]) // the client's functions
	}
	found := 0
	for _, m := range command.FindAllStringSubmatch(text, -1) {
		found++
		if !slices.Contains(known, m[1]) {
			t.Errorf("%q is no applet of a Yocto image: %q", m[1], m[0])
		}
	}
	if found < 250 {
		t.Errorf("found only %d commands", found)
	}
	// Not in Yocto's configuration, or wrong in some shell. A trap of a signal would be inherited by watchers that are
	// ended before they have dropped it: of 3,000 such, 490 survived in busybox 1.35.
	for _, trap := range []string{`\btimeout\b`, `\btrap .*(TERM|INT|HUP)`, `\$RANDOM`, `head -[0-9]`, `\bod -t`, `head -c`, `\blocal\b`, `\[\[`} {
		if regexp.MustCompile(trap).MatchString(text) {
			t.Errorf("the client has %q", trap)
		}
	}
}
