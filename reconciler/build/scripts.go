package build

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Scripts packs init scripts, by name, as one gzip archive with plain names at its top. All are executable, whatever
// the commit says.
func Scripts(ctx context.Context, src artifact.Source, scripts map[string]artifact.File, sink Sink) (artifact.Artifact, error) {
	items, found, err := scriptItems(ctx, src, scripts)
	if err == nil && len(found) > 0 {
		err = &LintError{found}
	}
	var made artifact.Artifact
	if err == nil {
		made, err = put(ctx, src, items, artifact.Gzip, sink, nil)
	}
	if err != nil {
		return artifact.Artifact{}, fmt.Errorf("pack scripts: %w", err)
	}
	return made, nil
}

func scriptItems(ctx context.Context, src artifact.Source, scripts map[string]artifact.File) ([]item, Findings, error) {
	names := newEntries(Limits{})
	var items []item
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		i, reason, err := plainItem(ctx, src, scripts[name], name)
		if err != nil {
			return nil, nil, err
		}
		if strings.Contains(name, "/") {
			reason = &Finding{Text: "is no plain name"}
		}
		if reason != nil {
			names.found.add(name, reason.Advice, "%s", reason.Text)
			continue
		}
		i.header.Mode = 0o755
		names.add(&i.header)
		items = append(items, i)
	}
	return items, names.found, nil
}

// File puts one plain file of a commit, as it is.
func File(ctx context.Context, src artifact.Source, f artifact.File, sink Sink) (artifact.Artifact, error) {
	reason, err := plainFile(ctx, src, f)
	if err == nil && reason != nil {
		err = &LintError{Findings{*reason}}
	}
	var made artifact.Artifact
	if err == nil {
		made.Digest, made.Size, err = sink.Put(ctx, func(w io.Writer) error {
			return reading(src, f, func(r io.Reader) error {
				_, err := io.Copy(w, r)
				return err
			})
		})
	}
	if err != nil {
		return artifact.Artifact{}, fmt.Errorf("store file %q: %w", f.Path, err)
	}
	return made, nil
}
