package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// ledgerPlace says where a root's ledger lies unless it is a file in the root, so that commands without a service find it. It
// names the file with the secret, and holds none.
const ledgerPlace = durable.Private + "/ledger-place"

// PlaceLedger notes where the ledger of a root lies: in a database or, for nil, in the root.
func PlaceLedger(root string, p *ledger.Postgres) error {
	dir, err := durable.Open(root, nil)
	if err != nil {
		return fmt.Errorf("place ledger: %w", err)
	}
	defer dir.Close() // every write reports its own error
	if p == nil {
		err = dir.Remove(ledgerPlace)
	} else if note, e := json.Marshal(p); e == nil {
		err = dir.Replace(ledgerPlace, append(note, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("place ledger: %w", err)
	}
	return nil
}

// ledgerOf is where the ledger of a root lies.
func ledgerOf(root string) (ledger.Place, error) {
	b, err := os.ReadFile(filepath.Join(root, ledgerPlace))
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.SQLite(filepath.Join(root, durable.Private, ledger.File)), nil
	}
	var p ledger.Postgres
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("find ledger: %w", err)
	}
	return p, nil
}
