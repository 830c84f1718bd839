package webhook

import "net/http"

// labProject is a repository as GitLab names it.
type labProject struct {
	ID   int64  `json:"id"`
	Path string `json:"path_with_namespace"`
}

type labPush struct {
	Ref     string     `json:"ref"`
	Before  string     `json:"before"`
	After   string     `json:"after"`
	Project labProject `json:"project"`
}

type labMerge struct {
	User struct {
		Name string `json:"username"`
	} `json:"user"`
	Project labProject `json:"project"`
	Merge   struct {
		Number int    `json:"iid"`
		Action string `json:"action"`
		Target string `json:"target_branch"`
		From   int64  `json:"source_project_id"`
		Into   int64  `json:"target_project_id"`
		Draft  bool   `json:"draft"`
		Last   struct {
			ID string `json:"id"`
		} `json:"last_commit"`
	} `json:"object_attributes"`
}

var labActions = map[string]string{"open": Opened, "reopen": Opened, "update": Updated, "close": Closed, "merge": Closed}

func parseGitLab(h http.Header, body []byte) (said, error) {
	switch h.Get("X-Gitlab-Event") {
	case "Push Hook":
		var p labPush
		if err := decode(body, &p); err != nil {
			return said{}, err
		}
		return pushed(repository{p.Project.ID, p.Project.Path}, p.Ref, p.Before, p.After, false)
	case "Merge Request Hook":
		return parseLabMerge(body)
	}
	return said{}, errIgnore
}

func parseLabMerge(body []byte) (said, error) {
	var p labMerge
	if err := decode(body, &p); err != nil {
		return said{}, err
	}
	m, about := p.Merge, repository{p.Project.ID, p.Project.Path}
	action, ok := labActions[m.Action]
	if !ok {
		return said{about: about}, errIgnore
	}
	return pulled(said{about: about, Event: Event{
		Number: m.Number, Action: action, Branch: m.Target, Commit: m.Last.ID, Merged: m.Action == "merge",
		Fork: m.From != m.Into, Draft: m.Draft, Author: p.User.Name,
	}})
}
