package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// download is a file at an address.
func (f *Fetcher) download(ctx context.Context, d desired.Download) (object, error) {
	want, err := digest("sha256", d.SHA256)
	if err != nil {
		return object{}, err
	}
	return f.keep(ctx, "sha256", want, func(w io.Writer) error { return f.options.Remote.Download(ctx, d.URL, w) })
}

// blob is a file of the site's blob store.
func (f *Fetcher) blob(b desired.Blob) (object, error) {
	want, err := digest("sha256", b.SHA256)
	if err != nil {
		return object{}, err
	}
	o, ok := f.find(want)
	switch {
	case !ok && f.options.Root == "":
		return o, ErrNoRoot
	case !ok:
		return o, &remote.Wrong{Field: "sha256", Text: "the blob store has no such file", Advice: "put it there with pomona blob add, or correct the digest"}
	}
	return o, nil
}

// image is a layer of an OCI artifact. Its manifest is kept like a file, by its digest.
func (f *Fetcher) image(ctx context.Context, i desired.Image) (object, error) {
	image, err := remote.ParseImage(i.Image)
	if err != nil {
		return object{}, &remote.Wrong{Field: "image", Text: err.Error(), Advice: "correct it"}
	}
	if err := f.checkTag(ctx, image, i.Image); err != nil {
		return object{}, err
	}
	var manifest bytes.Buffer
	kept, err := f.keep(ctx, "image", image.Digest, func(w io.Writer) error {
		b, err := f.options.Remote.Manifest(ctx, image)
		_, werr := w.Write(b)
		return errors.Join(err, werr)
	})
	if err == nil {
		err = kept.read(&manifest)
	}
	if err != nil {
		return object{}, err
	}
	layer, err := remote.FindLayer(manifest.Bytes(), i.Title)
	if err != nil {
		return object{}, err
	}
	return f.keep(ctx, "image", layer.Digest, func(w io.Writer) error { return f.options.Remote.DownloadLayer(ctx, image, layer, w) })
}

// checkTag looks once whether an image's tag leads to its digest: the reference is kept then. The digest alone, which may
// have been fetched by another tag, says nothing about this one.
func (f *Fetcher) checkTag(ctx context.Context, image remote.Image, reference string) error {
	if image.Tag == "" {
		return nil
	}
	_, err := f.keep(ctx, "image", artifact.Sum([]byte(reference)), func(w io.Writer) error {
		_, err := io.WriteString(w, reference)
		return errors.Join(f.options.Remote.CheckTag(ctx, image), err)
	})
	return err
}

func digest(field, s string) (artifact.Digest, error) {
	d, err := artifact.ParseDigest(s)
	if err != nil {
		return d, &remote.Wrong{Field: field, Text: err.Error(), Advice: "correct it"}
	}
	return d, nil
}
