package forgetest

import (
	"net/http"
	"strconv"
)

// Review is what somebody thinks of a pull request.
type Review struct{ Login, State, Commit, Association string }

// AddReview reviews a pull request.
func (f *GitHub) AddReview(number int, r Review) {
	f.Do(func() {
		o := f.d.like("pull-request-review-items", Object{"id": f.id(), "state": r.State, "commit_id": r.Commit, "author_association": r.Association})
		o["user"].(Object)["login"] = r.Login
		f.Reviews[number] = append(f.Reviews[number], o)
	})
}

func (f *GitHub) reviewRoutes(on on) {
	on("GET REPO/commits/{sha}/pulls", func(w http.ResponseWriter, r *http.Request) {
		found := []Object{}
		for _, n := range f.Brought[r.PathValue("sha")] {
			found = append(found, f.pull(n))
		}
		Answer(w, 200, found)
	})
	on("GET REPO/pulls/{n}/reviews", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		Answer(w, 200, append([]Object{}, f.Reviews[n]...))
	})
}

// AddReview reviews a pull request. Association OWNER, MEMBER or COLLABORATOR makes it official.
func (f *Gitea) AddReview(number int, r Review) {
	f.Reviews[number] = append(f.Reviews[number], Object{
		"id": len(f.Reviews[number]) + 1, "user": Object{"login": r.Login}, "state": r.State, "commit_id": r.Commit,
		"official": r.Association == "OWNER" || r.Association == "MEMBER" || r.Association == "COLLABORATOR", "stale": false, "dismissed": false,
	})
}

func (f *Gitea) reviewRoutes(on func(string, http.HandlerFunc)) {
	on("GET REPO/commits/{sha}/pull", func(w http.ResponseWriter, r *http.Request) {
		n, ok := f.Brought[r.PathValue("sha")]
		if !ok {
			Answer(w, 404, Object{"message": "GetPullRequestByMergedCommitID"})
			return
		}
		Answer(w, 200, f.Pulls[n-1])
	})
	on("GET REPO/pulls/{n}/reviews", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		Answer(w, 200, part(r, f.Reviews[n]))
	})
}
