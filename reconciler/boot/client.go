// Package boot is the far end of a served tree: the boot client that front-end computers (FECs) run, and a simulator
// that runs it on this machine. Its verifier, for images without another, is the program in verify/.
package boot

import (
	_ "embed"
	"strings"
)

//go:embed client.sh
var client string

//go:embed fec.sh
var command []byte

// Command is pomona-fec, which answers what a service asks a FEC over ssh: the same for every site.
func Command() []byte { return command }

// Settings are fixed in a site's boot client when it is rendered.
type Settings struct {
	Site            string
	Channel         string
	Servers         []string // addresses that serve the tree, in order of preference; may be empty
	RequireFresh    bool     // never boot an expired release
	AllowUnverified bool     // boot without signatures where a FEC has no keys or no verifier
}

// Client is the boot client of a site: one POSIX shell script for busybox.
func Client(s Settings) []byte {
	return []byte(strings.NewReplacer(
		"@SITE@", quote(s.Site),
		"@CHANNEL@", quote(s.Channel),
		"@SERVERS@", quote(strings.Join(s.Servers, " ")),
		"@REQUIRE_FRESH@", flag(s.RequireFresh),
		"@ALLOW_UNVERIFIED@", flag(s.AllowUnverified),
	).Replace(client))
}

// quote makes one shell word of s, whatever it holds.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
