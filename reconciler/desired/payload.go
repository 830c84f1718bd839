package desired

import "github.com/pomona-gitops/pomona/reconciler/artifact"

// Payload is what is unpacked and where it goes. It comes from one place: Folder or Archive of the site's own repository
// or of Git, or a finished archive at HTTPS, Blob or OCI.
type Payload struct {
	Folder  string          `json:"folder,omitempty"`
	Archive string          `json:"archive,omitempty"`
	Git     GitCommit       `json:"git,omitzero"`
	HTTPS   Download        `json:"https,omitzero"`
	Blob    Blob            `json:"blob,omitzero"`
	OCI     Image           `json:"oci,omitzero"`
	Install string          `json:"install"`
	Format  artifact.Format `json:"format,omitempty"`
}

// GitCommit is one commit of another repository.
type GitCommit struct {
	URL    string `json:"url"`
	Commit string `json:"commit"` // 40 hex digits
	Tag    string `json:"tag,omitempty"`
}

// Download is a file at an address.
type Download struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
}

// Blob is a file in the site's blob store.
type Blob struct {
	SHA256 string `json:"sha256"`
}

// Image is an OCI artifact.
type Image struct {
	Image string `json:"image"` // host/name[:tag]@sha256:digest
	Title string `json:"title,omitempty"`
}

// Local says whether a payload lies in the site's own repository.
func (p Payload) Local() bool {
	return p.Git == GitCommit{} && p.HTTPS == Download{} && p.Blob == Blob{} && p.OCI == Image{}
}

// Finished says whether a payload is an archive already, whose format nothing changes.
func (p Payload) Finished() bool {
	return p.Archive != "" || p.HTTPS != Download{} || p.Blob != Blob{} || p.OCI != Image{}
}

// FormatFor is the compression that a platform gets: a finished archive's own, else what the payload or the platform says.
func (p Payload) FormatFor(pl Platform) artifact.Format {
	if !p.Finished() {
		return or(p.Format, pl.Prefers())
	}
	if name := p.named(); name != "" {
		f, _ := artifact.FormatOf(name) // an unknown name is a problem of its own; "" fits no platform
		return or(f, p.Format)
	}
	return or(p.Format, artifact.Gzip)
}

// named is the name of a finished archive, where it has one that says its format.
func (p Payload) named() string { return or(p.Archive, p.HTTPS.URL) }

// SelfContained says whether every payload lies in the site's own repository.
func (s Site) SelfContained() bool {
	for _, sw := range s.Software {
		for _, v := range sw.Versions {
			for _, p := range v.Payload {
				if !p.Local() {
					return false
				}
			}
		}
	}
	for _, item := range s.Configuration {
		for _, v := range item.Versions {
			if !v.Payload.Local() {
				return false
			}
		}
	}
	return true
}
