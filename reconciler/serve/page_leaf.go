package serve

import (
	"html/template"
	"maps"
	"net/url"
	"strconv"
)

// turn is which part of a long list a page shows, and where those beside it are.
type turn struct {
	Name          string       // by which a query asks for it
	Number, Of    int          // of parts, from 1
	Before, After template.URL // the same page with another part; empty: there is none
}

// maxPage is the last that can be asked for.
const maxPage = 1_000_000

// numberIn is which part a query asks for by a name; the first, if it says nothing.
func numberIn(q url.Values, name string) int {
	n, err := strconv.Atoi(q.Get(name))
	if err != nil {
		return 1
	}
	return min(max(1, n), maxPage)
}

// turnOf is a part of a list that has so many lines in all. Before one that is not there is the last.
func turnOf(name string, q url.Values, number, all, size int) turn {
	t := turn{Name: name, Number: number, Of: max(1, (all+size-1)/size)}
	at := func(n int) template.URL {
		other := maps.Clone(q)
		if other == nil {
			other = url.Values{}
		}
		other.Set(name, strconv.Itoa(n))
		return template.URL("?" + other.Encode()) // which escapes all of it
	}
	if number > 1 {
		t.Before = at(min(number-1, t.Of))
	}
	if number < t.Of {
		t.After = at(number + 1)
	}
	return t
}

// leaf is one part of a long list that is at hand.
type leaf[T any] struct {
	turn
	Items []T
	All   int // of the whole list
}

// leafOf is the leaf of a list that a query asks for. What is out of range is the nearest.
func leafOf[T any](items []T, q url.Values, size int) leaf[T] { return leafBy("page", items, q, size) }

// leafBy is likewise of one of several lists of a page, which the query names.
func leafBy[T any](name string, items []T, q url.Values, size int) leaf[T] {
	n := min(numberIn(q, name), max(1, (len(items)+size-1)/size))
	return leaf[T]{turnOf(name, q, n, len(items), size), items[(n-1)*size : min(len(items), n*size)], len(items)}
}
