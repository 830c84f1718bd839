package reconciler

import (
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// How much is read to show where problems are.
const (
	maxExcerpts    = 50      // problems that are shown with lines of their files
	maxExcerptFile = 1 << 20 // bytes of a file
)

// excerpts are problems with the lines of a commit's files around them. What cannot be read is left out.
func excerpts(from *repo.Repo, commit string, problems desired.Problems) []report.Located {
	out := make([]report.Located, 0, len(problems))
	files := map[string][]byte{}
	for i, p := range problems {
		if from == nil || p.File == "" || p.Line == 0 || i >= maxExcerpts {
			out = append(out, report.Located{Problem: p})
			continue
		}
		text, known := files[p.File]
		if !known {
			text, _ = from.Text(commit, p.File, maxExcerptFile) // then the problem is shown without it
			files[p.File] = text
		}
		out = append(out, report.Locate(p, text))
	}
	return out
}
