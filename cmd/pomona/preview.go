package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// previewsOf are the previews of a configured site. Without a configuration, none are made, and those that are there go.
func previewsOf(conf desired.ServedSite, r *reconciler.Reconciler) (*reconciler.Previews, error) {
	p := &reconciler.Previews{Root: conf.Root, Records: r.Records, Log: r.Log, Now: r.Now}
	if conf.Previews == nil {
		return p, nil
	}
	keys, err := readKeys(conf.Root, []string{conf.Previews.Key})
	if err != nil {
		return nil, err
	}
	p.Key = keys[0]
	if slices.ContainsFunc(r.Keys, func(k tree.SecretKey) bool { return k.ID == p.Key.ID }) {
		return nil, fmt.Errorf("the key of previews, %q, signs productive trees too: make one of its own with pomona keygen", conf.Previews.Key)
	}
	p.Most, p.MaxSize, p.Life = conf.Previews.AtMost(), conf.Previews.Size(), conf.Previews.Lifetime()
	return p, nil
}

// endPreviews removes those that an earlier configuration has left, beside passes: what is served does not wait for it.
func (s *servedRoot) endPreviews(conf desired.ServedSite, r *reconciler.Reconciler) {
	if _, err := os.Lstat(filepath.Join(conf.Root, tree.PreviewsFolder)); conf.Previews != nil || errors.Is(err, os.ErrNotExist) {
		return
	}
	s.beside = append(s.beside, func(ctx context.Context) error {
		p, err := previewsOf(conf, r)
		if err == nil {
			_, err = p.Expire(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("previews not removed", "err", err)
		}
		return nil
	})
}
