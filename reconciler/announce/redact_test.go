package announce_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/announce"
)

func TestCredentialsAreMaskedByTheirLook(t *testing.T) {
	for in, want := range map[string]string{
		"fetch https://ann:s3cret@git.example.org/site.git: timeout":                            "fetch https://[redacted]@git.example.org/site.git: timeout",
		"fetch https://ghp_s3cret@git.example.org/":                                             "fetch https://[redacted]@git.example.org/",
		"fetch ssh://git:s3cret@git.example.org/":                                               "fetch ssh://git:[redacted]@git.example.org/",
		"fetch ssh://git@git.example.org/site.git":                                              "fetch ssh://git@git.example.org/site.git",
		"GET https://git.example.org/a@b":                                                       "GET https://git.example.org/a@b",
		"Authorization: Bearer s3cret":                                                          "Authorization: [redacted]",
		"authorization: basic YW5uOnMzY3JldA==, Accept: */*":                                    "authorization: [redacted], Accept: */*",
		`{"Authorization":["Bearer s3cret"],"Accept":["*/*"]}`:                                  `{"Authorization":["[redacted]"],"Accept":["*/*"]}`,
		`msg="{\"Authorization\":[\"token s3cret\"]}"`:                                          `msg="{\"Authorization\":[\"[redacted]\"]}"`,
		"map[Authorization:[Bearer s3cret] Accept:[a]]":                                         "map[Authorization:[[redacted]] Accept:[a]]",
		"GET https://git.example.org/?access_token=s3cret&x=1":                                  "GET https://git.example.org/?access_token=[redacted]&x=1",
		"post https://hooks.slack.com/services/T0/B0/s3cret: 500":                               "post https://hooks.slack.com/[redacted] 500",
		"token ghp_s3cretS3cretS3cretS3 is old":                                                 "token [redacted] is old",
		"-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n-----END OPENSSH PRIVATE KEY-----\nafter": "[redacted]\nafter",
		"commit 252ce49895181957463f2ea957149868b65896c6 is published":                          "commit 252ce49895181957463f2ea957149868b65896c6 is published",
	} {
		if have := (*announce.Secrets)(nil).Mask(in); have != want {
			t.Errorf("%q:\ngot  %q\nwant %q", in, have, want)
		}
	}
}

// TestNoHandlerWritesASecret logs secrets in every way that slog has.
func TestNoHandlerWritesASecret(t *testing.T) {
	for _, secret := range []string{"correct-horse", `quo"ted\back slash`, "plus+and/slash=", "tab\tand-ümlaut", "<angle&amp>"} {
		var secrets announce.Secrets
		secrets.Add(secret)
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(secrets.Writer(&out), nil), slog.NewJSONHandler(secrets.Writer(&out), nil)} {
			log := slog.New(h).With("with", "a "+secret).WithGroup("group")
			log.Info("message "+secret, "string", secret, "error", errors.New("cause: "+secret), "bytes", json.RawMessage(`"x"`),
				"header", http.Header{"X": {secret}}, "any", struct{ Field string }{secret}, slog.Group("nested", "key", secret))
		}
		if strings.Count(out.String(), "[redacted]") != 14 {
			t.Errorf("%q: masked otherwise than 14 times:\n%s", secret, &out)
		}
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is there:\n%s", secret, &out)
		}
		if b, err := json.Marshal(secret); err != nil || secrets.Mask(string(b)) != `"[redacted]"` {
			t.Errorf("in JSON: %s: %v", secrets.Mask(string(b)), err)
		}
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
				t.Errorf("no JSON any more: %s", line)
			}
		}
	}
}

func TestASecretIsReadOnlyFromAPrivateFile(t *testing.T) {
	var secrets announce.Secrets
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("correct-horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if have, err := secrets.Read(file); have != "correct-horse" || err != nil {
		t.Errorf("got %q: %v", have, err)
	}
	if have := secrets.Mask("correct-horse"); have != "[redacted]" {
		t.Errorf("a secret that was read is not masked: %q", have)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Read(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
}
