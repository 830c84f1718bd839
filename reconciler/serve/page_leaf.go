package serve

import (
	"html/template"
	"maps"
	"net/url"
	"strconv"
)

// leaf is one page of a long list, and where those beside it are.
type leaf[T any] struct {
	Name          string // by which a query asks for it
	Items         []T
	All           int          // of the whole list
	Number, Of    int          // of leaves, from 1
	Before, After template.URL // the same page with another leaf; empty: there is none
}

// leafOf is the leaf of a list that a query asks for. What is out of range is the nearest.
func leafOf[T any](items []T, q url.Values, size int) leaf[T] { return leafBy("page", items, q, size) }

// leafBy is likewise of one of several lists of a page, which the query names.
func leafBy[T any](name string, items []T, q url.Values, size int) leaf[T] {
	l := leaf[T]{Name: name, All: len(items), Of: max(1, (len(items)+size-1)/size)}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil {
		n = 1
	}
	l.Number = min(max(1, n), l.Of)
	l.Items = items[(l.Number-1)*size : min(len(items), l.Number*size)]
	at := func(n int) template.URL {
		other := maps.Clone(q)
		if other == nil {
			other = url.Values{}
		}
		other.Set(name, strconv.Itoa(n))
		return template.URL("?" + other.Encode()) // which escapes all of it
	}
	if l.Number > 1 {
		l.Before = at(l.Number - 1)
	}
	if l.Number < l.Of {
		l.After = at(l.Number + 1)
	}
	return l
}
