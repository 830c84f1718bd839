package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// CheckMirror compares what lies at an address, OS/ARCH/RPMS.*/, with the packages of a pilot in one snapshot; an empty subject is that of its
// first release. No difference: it is a mirror.
func CheckMirror(ctx context.Context, p desired.Pilot, subject, address string) (observed.Differences, error) {
	if subject == "" {
		subject = p.Snapshot().Subject()
	}
	s, ok := tree.PilotSnapshots(p)[subject]
	if !ok {
		return nil, fmt.Errorf("the site states no packages with the digest %s", subject)
	}
	if len(p.Branches) == 0 {
		return nil, errors.New("the pilot has no packages")
	}
	return observe.Mirror(ctx, strings.TrimSpace(address), tree.Directories(p, s))
}
