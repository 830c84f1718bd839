package fetch

import (
	"context"
	"errors"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// Package brings a package file, or another one with a digest: from its address, or from the blob store. What a person must change comes
// back as desired.Problems with paths below the package; what another try may bring, as a *remote.Unavailable.
func (f *Fetcher) Package(ctx context.Context, r desired.RPM) (artifact.Source, error) {
	bring := func() (object, error) { return f.blob(desired.Blob{SHA256: r.SHA256}) }
	if r.URL != "" {
		bring = func() (object, error) { return f.download(ctx, desired.Download{URL: r.URL, SHA256: r.SHA256}) }
	}
	file, err := bring()
	var wrong *remote.Wrong
	if errors.As(err, &wrong) {
		return nil, desired.Problems{{Path: wrong.Field, Text: wrong.Text, Advice: wrong.Advice}}
	}
	if err != nil {
		return nil, explain("", err)
	}
	file.name = r.File
	return file, nil
}
