package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
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

// preview has a reviewer serve what the merge of each pull request would give, if the site is configured so.
func preview(v *reconciler.Reviewer, conf desired.ServedSite, r *reconciler.Reconciler) error {
	p, err := previewsOf(conf, r)
	if err != nil || conf.Previews == nil {
		return err
	}
	v.Show = func(ctx context.Context, number int, head string, merge *reconciler.Reconciler) (string, error) {
		put, err := p.Put(ctx, merge, number, head)
		if none := (*reconciler.NoPreview)(nil); errors.As(err, &none) {
			return "none, " + none.Reason, nil
		}
		return shown(v.Link, put), err
	}
	v.Keep = p.Keep
	return nil
}

// shown says where a preview is.
func shown(link string, p observed.Preview) string {
	return fmt.Sprintf("%s/%s/ until %s; a FEC that knows the key of previews boots it when it is given <code>pomona.preview=%d</code>",
		strings.TrimSuffix(link, "/"), tree.PreviewPath(p.Number), p.Expires.Format(time.DateOnly), p.Number)
}

// endPreviews removes those that an earlier configuration has left.
func endPreviews(ctx context.Context, conf desired.ServedSite, r *reconciler.Reconciler) error {
	if _, err := os.Lstat(filepath.Join(conf.Root, tree.PreviewsFolder)); conf.Previews != nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	p, err := previewsOf(conf, r)
	if err == nil {
		_, err = p.Expire(ctx)
	}
	return err
}
