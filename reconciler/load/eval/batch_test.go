package eval

import (
	"testing"
	"testing/fstest"
)

func TestGenerated(t *testing.T) {
	const head = "package site\n\nimport \"github.com/pomona-gitops/pomona/schema@v1\"\n\n"
	tests := []struct {
		src  string
		want bool
	}{
		{head + "schema.#Site\n", true},
		{"// Generated.\n@experiment(explicitopen)\n\n" + head + "// All of it.\nschema.#Site\n", true},
		{head + "schema.#Site\nsite: name: \"acc\"\n", false},
		{head + "schema.#Site & {site: name: \"acc\"}\n", false},
		{head + "schema.#FEC\n", false},
		{"package site\n\nimport \"example.org/schema\"\n\nschema.#Site\n", false},
		{"package site\n", false},
		{head + "schema.#Site }\n", false},
	}
	for _, tt := range tests {
		if got := generated([]byte(tt.src)); got != tt.want {
			t.Errorf("generated = %v for:\n%s", got, tt.src)
		}
	}
}

func TestFiles(t *testing.T) {
	f := newFiles(map[string][]byte{"a.cue": []byte("a"), "b/c/d.cue": []byte("dd"), "b/e.cue": nil})
	if err := fstest.TestFS(f, "a.cue", "b/c/d.cue", "b/e.cue"); err != nil {
		t.Error(err)
	}
}
