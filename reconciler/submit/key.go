package submit

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Key names an attempt at a slice for ever, and for one site: Pomonas of others may use the same batch system. It says what is done
// and not how, so that whoever has lost everything finds the same.
func Key(site string, s observed.Slice, round, attempt int) string {
	return digest(site, s.UID, s.Stage, fmt.Sprint(s.Epoch), s.ID, fmt.Sprint(round), fmt.Sprint(attempt))
}

// LaunchKey names the launch of some submissions.
func LaunchKey(submissions []string) string {
	if len(submissions) == 1 {
		return submissions[0]
	}
	return digest(submissions...)
}

// keyPrefix is what all keys begin with.
const keyPrefix = "pom-"

// isKey says whether a word looks like one.
func isKey(word string) bool {
	return len(word) == len(keyPrefix)+26 && strings.HasPrefix(word, keyPrefix) && strings.Trim(word[len(keyPrefix):], "0123456789abcdefghijklmnopqrstuv") == ""
}

func digest(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\n")))
	return keyPrefix + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))[:26]
}
