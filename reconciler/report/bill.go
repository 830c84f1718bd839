package report

// Bill is what pages show of a bill of materials: of CycloneDX, what Pomona writes.
type Bill struct {
	SerialNumber string `json:"serialNumber"`
	SpecVersion  string `json:"specVersion"`
	Metadata     struct {
		Component BillComponent `json:"component"`
	} `json:"metadata"`
	Components []BillComponent `json:"components"`
}

// BillComponent is an artifact, or a file or link in it.
type BillComponent struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Hashes  []struct {
		Content string `json:"content"`
	} `json:"hashes"`
	Properties []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"properties"`
	ExternalReferences []struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"externalReferences"`
}

// Digest is the component's SHA-256; empty for a link.
func (c BillComponent) Digest() string {
	if len(c.Hashes) == 0 {
		return ""
	}
	return c.Hashes[0].Content
}
