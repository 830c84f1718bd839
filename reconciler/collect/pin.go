package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// pinsFile names the snapshots that operators chose to be restored.
const pinsFile = durable.Private + "/data-restored.json"

// pins are those snapshots, by FEC and name of the data.
type pins struct {
	mu     *sync.Mutex
	chosen map[string]map[string]artifact.Digest
}

func readPins(root *os.Root) (pins, error) {
	p := pins{&sync.Mutex{}, map[string]map[string]artifact.Digest{}}
	b, err := root.ReadFile(pinsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p.chosen)
	}
	if err != nil {
		return p, fmt.Errorf("read %s: %w; remove it to have the newest snapshots restored", pinsFile, err)
	}
	return p, nil
}

// Chosen are the snapshots of a root that operators chose to be restored, by FEC and name of the data.
func Chosen(root *os.Root) (map[string]map[string]artifact.Digest, error) {
	p, err := readPins(root)
	return p.chosen, err
}

func (p pins) of(fec, name string) (artifact.Digest, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.chosen[fec][name]
	return d, ok
}

// set chooses a snapshot or, with the zero digest, the newest one whichever that is.
func (p pins) set(dir *durable.Dir, fec, name string, d artifact.Digest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.chosen[fec] == nil {
		p.chosen[fec] = map[string]artifact.Digest{}
	}
	p.chosen[fec][name] = d
	if d.IsZero() {
		delete(p.chosen[fec], name)
	}
	if len(p.chosen[fec]) == 0 {
		delete(p.chosen, fec)
	}
	b, err := json.Marshal(p.chosen)
	if err != nil {
		return err
	}
	return dir.Keep(pinsFile, append(b, '\n'))
}
