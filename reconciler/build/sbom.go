package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"path"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// About is what a bill of materials says of an artifact besides what is in it.
type About struct {
	Type    string // Application or Data
	Name    string
	Version string
	Source  desired.Payload // as the site declares it
}

// What an artifact is, in the words of CycloneDX: software, or a configuration of it.
const (
	Application = string(cdx.ComponentTypeApplication)
	Data        = string(cdx.ComponentTypeData)
)

// contents are the files and links of an archive, in its order; of nil, nothing is noted.
type contents []member

type member struct {
	name   string
	digest artifact.Digest // of a file
	link   string          // of a link; empty for a file
}

// add copies an entry's data and notes what it was.
func (c *contents) add(h *tar.Header, w io.Writer, r io.Reader) (int64, error) {
	if c == nil {
		return io.Copy(w, r)
	}
	var sum hash.Hash
	if h.Typeflag == tar.TypeReg {
		sum = sha256.New()
		w = io.MultiWriter(w, sum)
	}
	n, err := io.Copy(w, r)
	if err != nil || h.Typeflag == tar.TypeDir {
		return n, err
	}
	e := member{name: "/" + path.Clean(h.Name), link: h.Linkname}
	if sum != nil {
		e.digest = artifact.Digest(sum.Sum(nil))
	}
	*c = append(*c, e)
	return n, nil
}

// putSBOM stores the bill of materials of an artifact: CycloneDX 1.6, the same bytes on every machine, and without dates.
func putSBOM(ctx context.Context, a artifact.Artifact, s Spec, in contents, sink Sink) (artifact.Digest, int64, error) {
	d, size, err := sink.Put(ctx, func(w io.Writer) error {
		return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(billOf(a, s, in))
	})
	if err != nil {
		return d, 0, fmt.Errorf("store bill of materials: %w", err)
	}
	return d, size, nil
}

func billOf(a artifact.Artifact, s Spec, in contents) *cdx.BOM {
	id := artifact.Sum(fmt.Appendf(nil, "pomona sbom\x00%q\x00%s", s.About, a.Digest))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8, RFC 9562
	properties := []cdx.Property{{Name: "pomona:install", Value: s.Install}, {Name: "pomona:format", Value: string(s.Format)}}
	reference, more := s.About.source()
	properties = append(properties, more...)
	whole := cdx.Component{
		BOMRef: "artifact", Type: cdx.ComponentType(s.About.Type), Name: s.About.Name, Version: s.About.Version,
		Hashes: sha(a.Digest), Properties: &properties,
	}
	if reference.URL != "" {
		whole.ExternalReferences = &[]cdx.ExternalReference{reference}
	}
	return &cdx.BOM{
		BOMFormat: "CycloneDX", SpecVersion: cdx.SpecVersion1_6, Version: 1,
		SerialNumber: fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]),
		Metadata: &cdx.Metadata{
			Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "pomona"}}},
			Component: &whole,
		},
		Components: in.components(),
	}
}

func (c contents) components() *[]cdx.Component {
	out := make([]cdx.Component, len(c))
	for i, e := range c {
		out[i] = cdx.Component{Type: cdx.ComponentTypeFile, Name: e.name}
		if e.link != "" {
			out[i].Properties = &[]cdx.Property{{Name: "pomona:link", Value: e.link}}
		} else {
			out[i].Hashes = sha(e.digest)
		}
	}
	return &out
}

func sha(d artifact.Digest) *[]cdx.Hash {
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: d.String()}}
}

// source is where an artifact comes from: an address where there is one, and what else names it.
func (a About) source() (cdx.ExternalReference, []cdx.Property) {
	p := a.Source
	var properties []cdx.Property
	add := func(name, value string) {
		if value != "" {
			properties = append(properties, cdx.Property{Name: "pomona:" + name, Value: value})
		}
	}
	add("folder", p.Folder)
	add("archive", p.Archive)
	add("commit", p.Git.Commit)
	add("tag", p.Git.Tag)
	add("blob", p.Blob.SHA256)
	add("title", p.OCI.Title)
	switch {
	case p.Git.URL != "":
		return cdx.ExternalReference{Type: cdx.ERTypeVCS, URL: p.Git.URL}, properties
	case p.HTTPS.URL != "":
		return cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: p.HTTPS.URL}, properties
	case p.OCI.Image != "":
		return cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: "oci://" + p.OCI.Image}, properties
	}
	return cdx.ExternalReference{}, properties
}
