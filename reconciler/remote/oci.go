package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// maxManifest is the largest manifest, in bytes: what registries themselves accept.
const maxManifest = 4 << 20

// Image is an OCI artifact by its digest.
type Image struct {
	Host   string
	Name   string
	Tag    string // may be empty
	Digest artifact.Digest
}

// ParseImage reads HOST/NAME[:TAG]@sha256:DIGEST.
func ParseImage(s string) (Image, error) {
	name, digest, ok := strings.Cut(s, "@sha256:")
	host, path, ok2 := strings.Cut(name, "/")
	d, err := artifact.ParseDigest(digest)
	if !ok || !ok2 || err != nil {
		return Image{}, fmt.Errorf("malformed image %q: want HOST/NAME@sha256:DIGEST", s)
	}
	path, tag, _ := strings.Cut(path, ":")
	return Image{Host: host, Name: path, Tag: tag, Digest: d}, nil
}

// CheckTag says whether an artifact's tag still leads to it. Its error is a *Wrong, an *Unavailable or the context's.
func (c *Client) CheckTag(ctx context.Context, i Image) error {
	repository, err := c.repository(i)
	if err != nil {
		return err
	}
	at, err := repository.Resolve(ctx, i.Tag)
	if err != nil {
		return registryError(ctx, i, "tag "+i.Tag, err)
	}
	if at.Digest.String() != "sha256:"+i.Digest.String() {
		return &Wrong{Field: "image", Text: fmt.Sprintf("tag %s has moved: it leads to %s", i.Tag, at.Digest), Advice: "write that digest, or leave the tag out"}
	}
	return nil
}

// Manifest reads an artifact's manifest. Its error is a *Wrong, an *Unavailable or the context's.
func (c *Client) Manifest(ctx context.Context, i Image) ([]byte, error) {
	repository, err := c.repository(i)
	if err != nil {
		return nil, err
	}
	want := "sha256:" + i.Digest.String()
	desc, r, err := repository.Manifests().FetchReference(ctx, want)
	if err != nil {
		return nil, registryError(ctx, i, "artifact "+want, err)
	}
	defer r.Close() // read whole or reported below
	if desc.Size > maxManifest {
		return nil, &Wrong{Field: "image", Text: "its manifest is larger than 4 MiB", Advice: "name another artifact"}
	}
	b, err := content.ReadAll(r, desc)
	if errors.Is(err, content.ErrMismatchedDigest) || err == nil && artifact.Sum(b) != i.Digest {
		return nil, &Wrong{Field: "image", Text: "the registry has something else under this digest", Advice: "push it again, and write the digest that the registry shows"}
	}
	return b, Failed(ctx, i.Host, err)
}

// Layer is the part of an artifact that is an archive.
type Layer struct {
	Digest artifact.Digest
	desc   ocispec.Descriptor
}

// FindLayer chooses the layer with a title, or the only one.
func FindLayer(manifest []byte, title string) (Layer, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return Layer{}, &Wrong{Field: "image", Text: "its manifest is no JSON", Advice: "name another artifact"}
	}
	found := slices.Clone(m.Layers)
	if title != "" {
		found = slices.DeleteFunc(found, func(d ocispec.Descriptor) bool { return d.Annotations[ocispec.AnnotationTitle] != title })
	}
	switch {
	case len(m.Layers) == 0:
		return Layer{}, &Wrong{Field: "image", Text: "it is no artifact with layers", Advice: "name the manifest of one artifact, not an index of several"}
	case title != "" && len(found) != 1:
		return Layer{}, &Wrong{Field: "title", Text: fmt.Sprintf("%d layers have this title", len(found)), Advice: "choose one of " + strings.Join(titles(m), ", ")}
	case len(found) != 1:
		return Layer{}, &Wrong{Field: "image", Text: fmt.Sprintf("it has %d layers", len(found)), Advice: "choose one with title: one of " + strings.Join(titles(m), ", ")}
	}
	d, err := artifact.ParseDigest(strings.TrimPrefix(found[0].Digest.String(), "sha256:"))
	if err != nil {
		return Layer{}, &Wrong{Field: "image", Text: "its layer has no sha256 digest", Advice: "push it again"}
	}
	return Layer{d, found[0]}, nil
}

func titles(m ocispec.Manifest) (names []string) {
	for _, l := range m.Layers {
		if t := l.Annotations[ocispec.AnnotationTitle]; t != "" {
			names = append(names, t)
		}
	}
	slices.Sort(names)
	return names
}

// DownloadLayer copies a layer to w; its digest is the caller's to check. Its error is a *Wrong, an *Unavailable, or w's
// own.
func (c *Client) DownloadLayer(ctx context.Context, i Image, l Layer, w io.Writer) error {
	repository, err := c.repository(i)
	if err != nil {
		return err
	}
	r, err := repository.Blobs().Fetch(ctx, l.desc)
	if err != nil {
		return registryError(ctx, i, "layer "+l.desc.Digest.String(), err)
	}
	defer r.Close() // read whole or reported below
	return c.copyBody(ctx, i.Host, "image", w, r)
}

func (c *Client) repository(i Image) (*oras.Repository, error) {
	repository, err := oras.NewRepository(i.Host + "/" + i.Name)
	if err != nil {
		return nil, &Wrong{Field: "image", Text: err.Error(), Advice: "correct it"}
	}
	repository.Client = &auth.Client{Client: c.http, Cache: auth.NewCache(), Credential: func(ctx context.Context, host string) (auth.Credential, error) {
		own, _, err := c.Credential(ctx, &url.URL{Scheme: "https", Host: host})
		return auth.Credential{Username: own.user, Password: own.password, AccessToken: own.token}, err
	}}
	return repository, nil
}

// registryError tells what an error of a registry means. Only its status is kept: the rest may hold anything.
func registryError(ctx context.Context, i Image, what string, err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case strings.Contains(err.Error(), "digest mismatch"): // the library has no value for it
		return &Wrong{Field: "image", Text: "the registry has something else under this digest", Advice: "push it again, and write the digest that the registry shows"}
	case errors.Is(err, errdef.ErrNotFound), errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return &Wrong{Field: "image", Text: fmt.Sprintf("%s has no %s of %s", i.Host, what, i.Name), Advice: "correct the reference, or push it"}
	case errors.As(err, &answer):
		return status(i.Host, "image", answer.StatusCode)
	}
	return Failed(ctx, i.Host, err)
}
