package serve

import (
	"fmt"
	"log/slog"
	"os"
)

// trouble is what is wrong with a file of secrets, as it was logged last.
type trouble string

// tell logs what is wrong once, and again when it is something else.
func (t *trouble) tell(log *slog.Logger, what string, err error) {
	was, now := *t, trouble("")
	if err != nil {
		now = trouble(err.Error())
	}
	if *t = now; now != was && now != "" {
		log.Error(what, "err", err)
	}
}

// readSecrets reads a file of tokens that nobody else may read or write, of at most so many bytes.
func readSecrets(file string, most int64) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read or write %q: chmod 600 it", file)
	case info.Size() > most:
		return nil, fmt.Errorf("%q has more than %d bytes", file, most)
	}
	return os.ReadFile(file)
}
