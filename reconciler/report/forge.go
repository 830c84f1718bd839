package report

import (
	"net/url"
	"strconv"
	"strings"
)

// Forge is where people look at a site's repository. The zero value knows no addresses.
type Forge struct {
	Address string // of the repository
	Gitea   bool   // else as GitHub has it
}

// ForgeOf is where the repository OWNER/NAME of a forge is looked at, by the address of its API; empty: public GitHub.
func ForgeOf(kind, api, repository string) Forge {
	at, err := url.Parse(api)
	owner, name, ok := strings.Cut(repository, "/")
	if err != nil || !ok || api != "" && (at.Scheme != "https" || at.Host == "") {
		return Forge{}
	}
	web := &url.URL{Scheme: "https", Host: "github.com"}
	if api != "" && at.Host != "api.github.com" {
		web.Host = at.Host
		for _, end := range []string{"/api/v1", "/api/v3"} {
			if base, ok := strings.CutSuffix(strings.TrimSuffix(at.Path, "/"), end); ok {
				at.Path = base
			}
		}
		web.Path = at.Path
	}
	return Forge{web.JoinPath(owner, name).String(), kind == "gitea"}
}

// Commit is the address of a commit; empty: it is not known.
func (f Forge) Commit(id string) string { return f.at("commit", id) }

// Pull is the address of a pull request.
func (f Forge) Pull(number int) string {
	if f.Gitea {
		return f.at("pulls", strconv.Itoa(number))
	}
	return f.at("pull", strconv.Itoa(number))
}

// Line is the address of a file or folder of a commit, at a line unless that is 0.
func (f Forge) Line(commit, file string, line int) string {
	to := f.at("blob", commit, file)
	if f.Gitea {
		to = f.at("src/commit", commit, file)
	}
	if to != "" && line > 0 {
		to += "#L" + strconv.Itoa(line)
	}
	return to
}

func (f Forge) at(path ...string) string {
	base, err := url.Parse(f.Address)
	if f.Address == "" || err != nil {
		return ""
	}
	return base.JoinPath(escaped(path)...).String()
}

// escaped are parts of a path in which nothing but slashes means anything.
func escaped(path []string) (out []string) {
	for _, p := range path {
		for part := range strings.SplitSeq(p, "/") {
			if part != "" && part != "." && part != ".." {
				out = append(out, url.PathEscape(part))
			}
		}
	}
	return out
}
