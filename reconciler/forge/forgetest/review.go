package forgetest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
)

// Review is what somebody thinks of a pull request.
type Review struct {
	Login, State, Commit string
	Permission           string // admin, write, read or none; empty: write
}

// AddReview reviews a pull request.
func (f *GitHub) AddReview(number int, r Review) {
	f.Do(func() {
		o := f.d.like("pull-request-review-items", Object{"id": f.id(), "state": r.State, "commit_id": r.Commit, "author_association": "MEMBER"})
		o["user"].(Object)["login"] = r.Login
		f.Permissions[r.Login] = cmp.Or(r.Permission, "write")
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
	on("GET REPO/collaborators/{login}/permission", func(w http.ResponseWriter, r *http.Request) {
		login := r.PathValue("login")
		if f.Permissions[login] == "" {
			Refuse(w, 404, "Not Found")
			return
		}
		o := f.d.like("repository-collaborator-permission-response-if-user-has-admin-permissions", Object{"permission": f.Permissions[login], "role_name": f.Permissions[login]})
		o["user"].(Object)["login"], o["user"].(Object)["role_name"] = login, f.Permissions[login] // which GitHub's own example has not
		Answer(w, 200, o)
	})
}

// AddReview reviews a pull request. Whoever may write makes it official.
func (f *Gitea) AddReview(number int, r Review) {
	dismissed := r.State == "DISMISSED"
	if dismissed {
		r.State = "APPROVED" // as it was
	}
	f.Reviews[number] = append(f.Reviews[number], Object{
		"id": len(f.Reviews[number]) + 1, "user": Object{"login": r.Login}, "state": r.State, "commit_id": r.Commit,
		"official": slices.Contains([]string{"", "write", "admin"}, r.Permission), "stale": false, "dismissed": dismissed,
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
