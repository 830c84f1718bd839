package forgetest

import (
	"fmt"
	"net/http"
)

// Status is one line about a commit.
type Status struct{ Context, State, Text, Link string }

// StatusesOf are all statuses that a commit was given, the newest first.
func (f *GitHub) StatusesOf(commit string) (out []Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.Statuses[commit] {
		out = append(out, Status{text(s["context"]), text(s["state"]), text(s["description"]), text(s["target_url"])})
	}
	return out
}

// AddStatus gives a commit a status with other members than GitHub's example. It does not lock.
func (f *GitHub) AddStatus(sha string, changes Object) Object {
	if _, ok := changes["target_url"]; !ok {
		changes["target_url"] = nil
	}
	s := f.d.like("status", changes)
	s["id"] = f.id()
	simple := f.d.like("combined-commit-status", nil)["statuses"].([]any)[0].(Object)
	for _, k := range []string{"state", "description", "context", "target_url", "id"} {
		simple[k] = s[k]
	}
	f.Statuses[sha] = append([]Object{simple}, f.Statuses[sha]...)
	return s
}

func (f *GitHub) statusRoutes(on on) {
	on("GET REPO/commits/{sha}/status", func(w http.ResponseWriter, r *http.Request) {
		seen, newest := map[any]bool{}, []Object{}
		for _, s := range f.Statuses[r.PathValue("sha")] {
			if !seen[s["context"]] {
				newest = append(newest, s)
			}
			seen[s["context"]] = true
		}
		f.page(w, r, func(s []Object) any {
			return f.d.like("combined-commit-status", Object{"sha": r.PathValue("sha"), "statuses": s, "total_count": len(newest)})
		}, newest)
	})
	on("POST REPO/statuses/{sha}", func(w http.ResponseWriter, r *http.Request) {
		b, sha := read(r), r.PathValue("sha")
		same := 0
		for _, s := range f.Statuses[sha] {
			if s["context"] == b["context"] {
				same++
			}
		}
		if text, _ := b["description"].(string); len([]rune(text)) > 140 {
			Refuse(w, 422, "Validation Failed: description is too long")
			return
		}
		if same >= MaxStatuses {
			Answer(w, 422, Object{"message": "Validation Failed", "errors": []Object{{"resource": "Status", "code": "custom", "message": "This SHA and context has reached the maximum number of statuses."}}})
			return
		}
		Answer(w, 201, f.AddStatus(sha, b))
	})
}

// Check is a check run.
type Check struct {
	Name, Status, Conclusion string
	Title, Summary, Text     string
	Link                     string
	Annotations              []Object // as they were sent
}

// ChecksOf are the check runs of a commit, oldest first.
func (f *GitHub) ChecksOf(commit string) (out []Check) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.Checks {
		if c["head_sha"] != commit {
			continue
		}
		said := c["output"].(Object)
		one := Check{text(c["name"]), text(c["status"]), text(c["conclusion"]), text(said["title"]), text(said["summary"]), text(said["text"]), text(c["details_url"]), nil}
		for _, a := range f.annots[fmt.Sprint(c["id"])] {
			one.Annotations = append(one.Annotations, a.(Object))
		}
		out = append(out, one)
	}
	return out
}

// AnnotationsOf are what a check run was sent. It does not lock.
func (f *GitHub) AnnotationsOf(run Object) []any { return f.annots[fmt.Sprint(run["id"])] }

func (f *GitHub) checkRoutes(on on) {
	on("GET REPO/commits/{sha}/check-runs", func(w http.ResponseWriter, r *http.Request) {
		found := []Object{}
		for _, c := range f.Checks {
			if c["head_sha"] == r.PathValue("sha") && c["name"] == r.URL.Query().Get("check_name") {
				found = append(found, c)
			}
		}
		f.page(w, r, func(cs []Object) any { return Object{"total_count": len(found), "check_runs": cs} }, found)
	})
	on("POST REPO/check-runs", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		c := f.d.like("check-run-example-of-in-progress-conclusion", Object{"id": f.id(), "name": b["name"], "head_sha": b["head_sha"], "conclusion": nil, "external_id": ""})
		c["app"].(Object)["id"] = AppID
		c["output"] = Object{"title": nil, "summary": nil, "text": nil, "annotations_count": 0, "annotations_url": "https://api.github.com/annotations"}
		f.Checks = append(f.Checks, c)
		f.change(w, c, b, 201)
	})
	on("PATCH REPO/check-runs/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range f.Checks {
			if fmt.Sprint(c["id"]) == r.PathValue("id") {
				f.change(w, c, read(r), 200)
				return
			}
		}
		Refuse(w, 404, "Not Found")
	})
}

func (f *GitHub) change(w http.ResponseWriter, run, b Object, code int) {
	for _, k := range []string{"status", "conclusion", "external_id", "details_url"} {
		if v, ok := b[k]; ok {
			run[k] = v
		}
	}
	if out, ok := b["output"].(Object); ok {
		id := fmt.Sprint(run["id"])
		more, _ := out["annotations"].([]any)
		if len(more) > 50 {
			Refuse(w, 422, "No more than 50 annotations")
			return
		}
		f.annots[id] = append(f.annots[id], more...)
		run["output"] = Object{"title": out["title"], "summary": out["summary"], "text": out["text"], "annotations_count": len(f.annots[id]), "annotations_url": "https://api.github.com/annotations"}
	}
	Answer(w, code, run)
}

// Deployment is a deployment with its statuses, the newest first.
type Deployment struct {
	Commit     string
	Production bool
	Statuses   []Status // Context is empty, Link where it is served
}

// DeploymentsTo are the deployments to an environment, the newest first.
func (f *GitHub) DeploymentsTo(environment string) (out []Deployment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.Deployments {
		if d["environment"] != environment {
			continue
		}
		one := Deployment{Commit: text(d["sha"]), Production: d["production_environment"] == true}
		for _, s := range f.DeploymentStatuses[fmt.Sprint(d["id"])] {
			one.Statuses = append(one.Statuses, Status{State: text(s["state"]), Text: text(s["description"]), Link: text(s["environment_url"])})
		}
		out = append(out, one)
	}
	return out
}

func (f *GitHub) deploymentRoutes(on on) {
	on("GET REPO/deployments", func(w http.ResponseWriter, r *http.Request) {
		found := []Object{}
		for _, d := range f.Deployments {
			if d["environment"] == r.URL.Query().Get("environment") {
				found = append(found, d)
			}
		}
		f.page(w, r, nil, found)
	})
	on("POST REPO/deployments", func(w http.ResponseWriter, r *http.Request) {
		b := read(r)
		if b["auto_merge"] != false {
			Answer(w, 202, Object{"message": "Auto-merged master into topic-branch on deployment."})
			return
		}
		if contexts, ok := b["required_contexts"].([]any); !ok || len(contexts) > 0 {
			Answer(w, 409, Object{"message": "Conflict: Commit status checks failed."})
			return
		}
		d := f.d.like("deployment-simple-example", Object{"id": f.id(), "sha": b["ref"], "environment": b["environment"], "production_environment": b["production_environment"]})
		f.Deployments = append([]Object{d}, f.Deployments...)
		Answer(w, 201, d)
	})
	on("GET REPO/deployments/{id}/statuses", func(w http.ResponseWriter, r *http.Request) {
		f.page(w, r, nil, f.DeploymentStatuses[r.PathValue("id")])
	})
	on("POST REPO/deployments/{id}/statuses", func(w http.ResponseWriter, r *http.Request) {
		s := f.d.like("deployment-status", read(r))
		f.DeploymentStatuses[r.PathValue("id")] = append([]Object{s}, f.DeploymentStatuses[r.PathValue("id")]...)
		Answer(w, 201, s)
	})
}
