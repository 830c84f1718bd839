package forgetest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// description is what GitHub publishes about its API, as far as it is used here.
type description struct {
	router   routers.Router
	examples map[string]any
}

// used are the paths that the fake has.
var used = []string{
	"/user", "/app", "/app/installations/{installation_id}/access_tokens", "/repos/{owner}/{repo}/installation", "/app/hook/deliveries", "/app/hook/deliveries/{delivery_id}/attempts", "/repos/{owner}/{repo}",
	"/repos/{owner}/{repo}/pulls", "/repos/{owner}/{repo}/pulls/{pull_number}", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews", "/repos/{owner}/{repo}/commits/{commit_sha}/pulls",
	"/repos/{owner}/{repo}/collaborators/{username}/permission",
	"/repos/{owner}/{repo}/issues/{issue_number}/comments", "/repos/{owner}/{repo}/issues/comments/{comment_id}",
	"/repos/{owner}/{repo}/commits/{ref}/status", "/repos/{owner}/{repo}/statuses/{sha}",
	"/repos/{owner}/{repo}/commits/{ref}/check-runs", "/repos/{owner}/{repo}/check-runs", "/repos/{owner}/{repo}/check-runs/{check_run_id}",
	"/repos/{owner}/{repo}/deployments", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
	"/repos/{owner}/{repo}/hooks", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
}

var published = sync.OnceValues(readDescription)

// describe is the description, or skips the test where it was not fetched.
func describe(t testing.TB) *description {
	t.Helper()
	d, err := published()
	if err == nil {
		return d
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no description of GitHub's API: run .ci/setup test: %v", err)
	}
	t.Skipf("NOT TESTED: no description of GitHub's API: run .ci/setup test: %v", err)
	return nil
}

func readDescription() (*description, error) {
	top, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for top != "/" && !isFile(filepath.Join(top, "go.mod")) {
		top = filepath.Dir(top)
	}
	b, err := os.ReadFile(filepath.Join(top, "build", "octokit", "openapi.json"))
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	part, err := json.Marshal(partOf(all))
	if err != nil {
		return nil, err
	}
	loaded, err := openapi3.NewLoader().LoadFromData(part)
	if err != nil {
		return nil, err
	}
	router, err := legacy.NewRouter(loaded, openapi3.DisableExamplesValidation(), openapi3.DisableSchemaDefaultsValidation())
	if err != nil {
		return nil, err
	}
	return &description{router, all["components"].(map[string]any)["examples"].(map[string]any)}, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// partOf is the description of the used paths, with what they refer to.
func partOf(all map[string]any) map[string]any {
	paths := all["paths"].(map[string]any)
	kept := map[string]any{}
	for _, p := range used {
		kept[p] = paths[p]
	}
	components := map[string]any{}
	part := map[string]any{"openapi": all["openapi"], "info": all["info"], "servers": []any{map[string]any{"url": "/"}}, "paths": kept, "components": components}
	var follow func(v any)
	follow = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				kind, name, _ := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
				of, _ := components[kind].(map[string]any)
				if of == nil {
					of = map[string]any{}
					components[kind] = of
				}
				if of[name] == nil {
					of[name] = all["components"].(map[string]any)[kind].(map[string]any)[name]
					follow(of[name])
				}
			}
			for _, below := range v {
				follow(below)
			}
		case []any:
			for _, below := range v {
				follow(below)
			}
		}
	}
	follow(kept)
	return part
}

// like is a published example, or the first of a list, with some members changed.
func (d *description) like(name string, changes map[string]any) map[string]any {
	value := d.examples[name].(map[string]any)["value"]
	if list, ok := value.([]any); ok {
		value = list[0]
	}
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	maps.Copy(out, changes)
	return out
}

// hold wraps a server, and tells of each request and each answer that is not as described.
func (d *description) hold(next http.Handler, tell func(format string, args ...any)) http.Handler {
	options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: false, IncludeResponseStatus: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		route, params, err := d.router.FindRoute(r)
		if err != nil {
			tell("%s %s: %v", r.Method, r.URL, err)
			http.Error(w, "no such path", http.StatusNotFound)
			return
		}
		in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			tell("request %s %s: %s\n%.300s", r.Method, r.URL, short(err), body)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		kept := &keeping{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(kept, r)
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: kept.code, Header: w.Header(), Options: options}
		out.SetBodyBytes(kept.body.Bytes())
		if err := openapi3filter.ValidateResponse(r.Context(), out); err != nil {
			tell("answer %d to %s %s: %s", kept.code, r.Method, r.URL, short(err))
		}
		w.WriteHeader(kept.code)
		_, _ = w.Write(kept.body.Bytes()) // the client may have gone
	})
}

// short is an error without the schema that it is about.
func short(err error) string {
	text, _, _ := strings.Cut(err.Error(), "Schema:")
	return text
}

// keeping keeps an answer until it has been looked at.
type keeping struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

func (k *keeping) WriteHeader(code int)        { k.code = code }
func (k *keeping) Write(b []byte) (int, error) { return k.body.Write(b) }
