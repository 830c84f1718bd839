package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// kinds are what a removal is counted in: the word in a commit's message, and the folder of the tree.
var kinds = []struct{ word, folder string }{{"fecs", "fecs"}, {"software", "software"}, {"configuration", "configuration"}}

// allowance is the line of a commit's message, like git's own trailers, that allows a removal.
var allowance = regexp.MustCompile(`(?mi)^Pomona-Allow-Removal:[ \t]*([0-9]{1,7})[ \t]+(fecs|software|configuration)[ \t]*\r?$`)

// overBudget are the removals that the site's retention refuses: more than its share of a kind, or all of it, unless a
// message since the published commit allows that many. A rename counts as a removal: the FEC of that name stops being
// served.
func overBudget(t tree.Tree, have observed.Root, r desired.Retention, messages []string) (refused desired.Problems) {
	if _, published := have.Published(); !published {
		return nil
	}
	allowed := allowances(messages)
	was, now := namesByFolder(contents(have.Index)), namesByFolder(contentsOf(t))
	for _, k := range kinds {
		var gone []string
		for _, name := range was[k.folder] {
			if _, stays := slices.BinarySearch(now[k.folder], name); !stays {
				gone = append(gone, name)
			}
		}
		n, all := len(gone), len(was[k.folder])
		if n == 0 || n <= allowed[k.word] || n < all && 100*n <= all*r.RemovalShare() {
			continue
		}
		refused = append(refused, desired.Problem{
			Path: k.folder,
			Text: fmt.Sprintf("the commit takes away %d of the %d published %s (%s), and at most %d%% may go unannounced",
				n, all, k.word, desired.Few(gone), r.RemovalShare()),
			Advice: fmt.Sprintf("if that is meant, add a line %q to its message", fmt.Sprintf("Pomona-Allow-Removal: %d %s", n, k.word)),
		})
	}
	return refused
}

func allowances(messages []string) map[string]int {
	out := map[string]int{}
	for _, message := range messages {
		for _, m := range allowance.FindAllStringSubmatch(message, -1) {
			n, _ := strconv.Atoi(m[1]) // digits
			kind := strings.ToLower(m[2])
			out[kind] = max(out[kind], n)
		}
	}
	return out
}

// namesByFolder sorts the paths of folders by the folder that they lie in: fecs/a and fecs/b by fecs. Links to a FEC by its
// host and the folder of global scripts are not counted.
func namesByFolder(contents map[string]string) map[string][]string {
	out := map[string][]string{}
	for path, content := range contents {
		folder, name, ok := strings.Cut(path, "/")
		if ok && !strings.HasPrefix(content, "-> ") && path != "fecs/"+desired.GlobalScripts {
			out[folder] = append(out[folder], name)
		}
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out
}

func contentsOf(t tree.Tree) map[string]string {
	out := map[string]string{}
	for _, f := range t.Folders {
		out[f.Path] = "folder"
	}
	return out
}
