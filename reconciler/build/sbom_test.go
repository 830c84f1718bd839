package build_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xeipuuv/gojsonschema"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// sinks keep every object in memory.
type sinks map[artifact.Digest][]byte

func (s sinks) Put(_ context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return artifact.Digest{}, 0, err
	}
	d := artifact.Sum(b.Bytes())
	s[d] = b.Bytes()
	return d, int64(b.Len()), nil
}

// published is the schema that the CycloneDX project publishes, as its Go module carries it.
func published(t *testing.T) *gojsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) gojsonschema.JSONLoader {
		return gojsonschema.NewReferenceLoader("file://" + filepath.Join(strings.TrimSpace(string(out)), "schema", name))
	}
	l := gojsonschema.NewSchemaLoader()
	for id, name := range map[string]string{"spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		if err := l.AddSchema("http://cyclonedx.org/schema/"+id, file(name)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := l.Compile(file("bom-1.6.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bill makes an artifact and returns its bill of materials, which satisfies the published schema.
func bill(t *testing.T, src memory, s build.Spec) (artifact.Artifact, map[string]any) {
	t.Helper()
	to := sinks{}
	made, err := build.Make(t.Context(), src, s, to)
	if err != nil {
		t.Fatal(err)
	}
	b := to[made.SBOM]
	result, err := published(t).Validate(gojsonschema.NewBytesLoader(b))
	if err != nil || !result.Valid() {
		t.Fatalf("%v %v:\n%s", err, result.Errors(), b)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return made, v
}

// listed are the files of a bill with their digests, and its links with their targets.
func listed(v map[string]any) map[string]string {
	out := map[string]string{}
	for _, c := range v["components"].([]any) {
		c := c.(map[string]any)
		if hashes, ok := c["hashes"].([]any); ok {
			out[c["name"].(string)] = hashes[0].(map[string]any)["content"].(string)
		} else {
			out[c["name"].(string)] = "-> " + c["properties"].([]any)[0].(map[string]any)["value"].(string)
		}
	}
	return out
}

func TestBillOfMaterials(t *testing.T) {
	src := commit(map[string]string{"p/bin/a": "content of a", "p/b": "", "p/l": "->b"})
	want := map[string]string{
		"/opt/fesa/bpm/1/bin/a": artifact.Sum([]byte("content of a")).String(),
		"/opt/fesa/bpm/1/b":     artifact.Sum(nil).String(),
		"/opt/fesa/bpm/1/l":     "-> b",
	}
	payload := desired.Payload{Folder: "p", Git: desired.GitCommit{URL: "https://git.example.org/bpm.git", Commit: strings.Repeat("01", 20)}}
	spec := build.Spec{Folder: "p", Install: "/opt/fesa/bpm/1", Format: artifact.Zstd, About: build.About{Type: build.Application, Name: "bpm", Version: "3.1.0", Source: payload}}
	made, v := bill(t, src, spec)
	if d := cmp.Diff(want, listed(v)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	whole := v["metadata"].(map[string]any)["component"].(map[string]any)
	if whole["name"] != "bpm" || whole["version"] != "3.1.0" || whole["hashes"].([]any)[0].(map[string]any)["content"] != made.Digest.String() {
		t.Errorf("it is about %v", whole)
	}
	if ref := whole["externalReferences"].([]any)[0].(map[string]any); ref["type"] != "vcs" || ref["url"] != payload.Git.URL {
		t.Errorf("it comes from %v", ref)
	}
	if again, _ := bill(t, src, spec); again != made {
		t.Errorf("made again it is %v, not %v", again, made)
	}

	configuration := spec
	configuration.About.Type = build.Data
	if _, w := bill(t, src, configuration); w["metadata"].(map[string]any)["component"].(map[string]any)["type"] != "data" || whole["type"] != "application" {
		t.Errorf("software is %v, a configuration %v", whole["type"], w["metadata"])
	}

	// Another release with the same content has another bill, hence another key, and the same archive.
	other := spec
	other.About.Version = "3.1.1"
	if a, w := bill(t, src, other); a.Digest != made.Digest || a.SBOM == made.SBOM || w["serialNumber"] == v["serialNumber"] {
		t.Errorf("the same content as %s gives %v", other.About.Version, a)
	}
	if build.Key(src.Files(), spec) == build.Key(src.Files(), other) {
		t.Error("releases with bills of their own have one key")
	}
}

// TestBillOfAFinishedArchive lists what is in an archive that somebody else has packed.
func TestBillOfAFinishedArchive(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "opt/x/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "opt/x/a", Mode: 0o644, Size: 3},
		{Typeflag: tar.TypeLink, Name: "opt/x/b", Linkname: "opt/x/a"},
		{Typeflag: tar.TypeSymlink, Name: "opt/x/c", Linkname: "a"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("abc")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	src := commit(map[string]string{"x.tar.gz": string(compress(t, artifact.Gzip, b.Bytes()))})
	for _, payload := range []desired.Payload{
		{Archive: "x.tar.gz"},
		{HTTPS: desired.Download{URL: "https://example.org/x%20y.tar.gz", SHA256: strings.Repeat("0", 64)}},
		{Blob: desired.Blob{SHA256: strings.Repeat("0", 64)}},
		{OCI: desired.Image{Image: "example.org:5000/x:1@sha256:" + strings.Repeat("0", 64), Title: "x.tar.gz"}},
	} {
		_, v := bill(t, src, build.Spec{Archive: "x.tar.gz", Install: "/opt/x", Format: artifact.Gzip, About: build.About{Type: build.Application, Name: "x", Version: "1.0", Source: payload}})
		want := map[string]string{"/opt/x/a": artifact.Sum([]byte("abc")).String(), "/opt/x/b": "-> opt/x/a", "/opt/x/c": "-> a"}
		if d := cmp.Diff(want, listed(v)); d != "" {
			t.Errorf("files (-want +got):\n%s", d)
		}
	}
}
