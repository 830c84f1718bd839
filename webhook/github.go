package webhook

import (
	"errors"
	"net/http"
)

// hubPush is a push as GitHub, Gitea and Forgejo send it.
type hubPush struct {
	Ref        string     `json:"ref"`
	Before     string     `json:"before"`
	After      string     `json:"after"`
	Deleted    bool       `json:"deleted"`
	Repository repository `json:"repository"`
}

// hubDelete says that a branch or tag is gone.
type hubDelete struct {
	Ref        string     `json:"ref"` // its short name
	Kind       string     `json:"ref_type"`
	Repository repository `json:"repository"`
}

// hubEnd is one end of a pull request. The repository of a fork that is gone is null.
type hubEnd struct {
	Ref        string     `json:"ref"`
	SHA        string     `json:"sha"`
	Repository repository `json:"repo"`
}

type hubPull struct {
	Action string `json:"action"`
	Number int    `json:"number"`
	Pull   struct {
		Draft  bool   `json:"draft"`
		Merged bool   `json:"merged"`
		Head   hubEnd `json:"head"`
		Base   hubEnd `json:"base"`
		User   struct {
			Login string `json:"login"`
		} `json:"user"`
	} `json:"pull_request"`
	Repository repository `json:"repository"`
}

type hubMergeGroup struct {
	Action string `json:"action"`
	Group  struct {
		HeadSHA string `json:"head_sha"`
		BaseRef string `json:"base_ref"`
	} `json:"merge_group"`
	Repository repository `json:"repository"`
}

// hubActions are the actions of pull requests that matter, as GitHub and as Gitea name them.
var hubActions = map[string]string{
	"opened": Opened, "reopened": Opened, "ready_for_review": Opened,
	"synchronize": Updated, "synchronized": Updated, "edited": Updated, "converted_to_draft": Updated,
	"closed": Closed,
}

func parseGitHub(h http.Header, body []byte) (said, error) {
	return parseHub(h.Get("X-GitHub-Event"), body)
}

// parseGitea reads what Gitea and Forgejo send, which differs from GitHub only in headers and in names of actions.
func parseGitea(h http.Header, body []byte) (said, error) {
	return parseHub(firstOf(h, "X-Forgejo-Event", "X-Gitea-Event"), body)
}

func parseHub(event string, body []byte) (said, error) {
	switch event {
	case "ping":
		var p struct {
			Repository repository `json:"repository"`
		}
		err := decode(body, &p)
		return said{Event: Event{Kind: Ping}, about: p.Repository}, err
	case "push":
		var p hubPush
		if err := decode(body, &p); err != nil {
			return said{}, err
		}
		return pushed(p.Repository, p.Ref, p.Before, p.After, p.Deleted)
	case "delete":
		var p hubDelete
		if err := decode(body, &p); err != nil {
			return said{}, err
		}
		if p.Kind != "branch" {
			return said{about: p.Repository}, errIgnore
		}
		return pushed(p.Repository, "refs/heads/"+p.Ref, "", "", true)
	case "pull_request":
		return parseHubPull(body)
	case "merge_group":
		return parseHubMergeGroup(body)
	}
	return said{}, errIgnore
}

func parseHubPull(body []byte) (said, error) {
	var p hubPull
	if err := decode(body, &p); err != nil {
		return said{}, err
	}
	action, ok := hubActions[p.Action]
	if !ok {
		return said{about: p.Repository}, errIgnore
	}
	return pulled(said{about: p.Repository, Event: Event{
		Number: p.Number, Action: action, Branch: p.Pull.Base.Ref, Commit: p.Pull.Head.SHA, Merged: p.Pull.Merged,
		Fork: p.Pull.Head.Repository != p.Pull.Base.Repository, Draft: p.Pull.Draft, Author: p.Pull.User.Login,
	}})
}

func parseHubMergeGroup(body []byte) (said, error) {
	var p hubMergeGroup
	if err := decode(body, &p); err != nil {
		return said{}, err
	}
	s := said{Event: Event{Kind: MergeGroup}, about: p.Repository}
	if p.Action != "checks_requested" {
		return s, errIgnore
	}
	var err error
	if s.Branch, err = branch(p.Group.BaseRef); err != nil {
		return s, err
	}
	if s.Commit, err = commit(p.Group.HeadSHA); err == nil && s.Commit == "" {
		err = errors.New("malformed commit: none")
	}
	return s, err
}
