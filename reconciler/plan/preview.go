package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Preview is the generation to come of a pull request's preview. A FEC that the last one has the same keeps its folder.
func Preview(want Want, was *observed.Preview, gone map[artifact.Digest]bool, of observed.Proposed, now time.Time) Publish {
	var have observed.Root
	if was != nil {
		have = observed.Root{Generations: []observed.Generation{was.Generation}, Current: was.Generation.Number, Index: was.Index, Gone: gone}
	}
	pub := Publish{Seals: map[string]Seal{}, Generation: observed.Generation{
		Number: have.Newest() + 1, Site: want.Tree.Site, Commit: want.Commit, GitTree: want.GitTree, Tree: want.Tree.Digest(), Pomona: want.Pomona,
		Givens: want.Givens, Keys: want.Keys, Serial: have.HighestSerial(), Published: now.UTC().Truncate(time.Second), Preview: &of,
	}}
	current, published := have.Published()
	pub.seal(want.Tree, have, published && !slices.Equal(current.Keys, want.Keys), now)
	return pub
}

// PreviewExpiry is when the preview of a head expires: some time after that was first seen, however often its base moves.
func PreviewExpiry(was []observed.Proposed, number int, head string, life time.Duration, now time.Time) time.Time {
	for _, w := range was {
		if w.Number == number && w.Head == head {
			return w.Expires
		}
	}
	return now.Add(life).UTC().Truncate(time.Second)
}

// Weighed is a preview and the objects that it leads to.
type Weighed struct {
	observed.Proposed
	Objects map[artifact.Digest]int64 // sizes, in bytes
}

// Crowded are the previews that must go so that no more than most stay, and that what these lead to beside what is published
// has at most so many bytes. Those that expire last come first; one that does not fit beside them takes nobody's place.
func Crowded(all []Weighed, published map[artifact.Digest]bool, most int, bytes int64) (gone []int) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Weighed) int { return cmp.Or(b.Expires.Compare(a.Expires), b.Number-a.Number) })
	counted := map[artifact.Digest]bool{}
	for _, w := range all {
		size := int64(0)
		for d, n := range w.Objects {
			if !published[d] && !counted[d] {
				size += n
			}
		}
		if most == 0 || size > bytes {
			gone = append(gone, w.Number)
			continue
		}
		most, bytes = most-1, bytes-size
		for d := range w.Objects {
			counted[d] = true
		}
	}
	return gone
}
