package serve

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// SliceQuery says which slices of a campaign somebody wants. What is empty does not matter.
type SliceQuery struct {
	Campaign, Stage string
	State           observed.SliceState
	After           SlicePlace // of the last one of the page before
	Limit           int        // at most, 1 to MaxPage
}

// SlicePlace is where a slice is among those of its campaign.
type SlicePlace struct {
	Stage string
	Epoch int
	Slice string
}

// String is the place as a query has it.
func (p SlicePlace) String() string { return fmt.Sprintf("%s/%d/%s", p.Stage, p.Epoch, p.Slice) }

func parsePlace(text string) (p SlicePlace, err error) {
	words := strings.Split(text, "/")
	if text == "" {
		return p, nil
	}
	if len(words) == 3 {
		p.Stage, p.Slice = words[0], words[2]
		p.Epoch, err = strconv.Atoi(words[1])
	}
	if err != nil || p.String() != text {
		return p, fmt.Errorf("%w after %q: give what next was", ErrMalformed, printable(text))
	}
	return p, nil
}

// Order is what an operator wants done about a campaign.
type Order struct {
	Do       string // test, retry, cancel or accept
	Campaign string // NAME or NAME/RUN
	Stage    string // of a test; empty: the first ones
	Slices   []string
	Reason   string
	By       string
}

// MaxOrdered is how many slices one order names at most: nobody else decides about campaigns before it is carried out.
const MaxOrdered = 1000

// query reads what comes after the question mark: each of some names at most once, and how long a page may be.
func query(r *http.Request, names ...string) (v map[string]string, limit int, err error) {
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, 0, fmt.Errorf("%w query", ErrMalformed)
	}
	v = map[string]string{}
	for name, values := range all {
		switch {
		case !slices.Contains(names, name):
			return nil, 0, fmt.Errorf("%w query: unknown %q; there are %s", ErrMalformed, printable(name), strings.Join(names, ", "))
		case len(values) > 1:
			return nil, 0, fmt.Errorf("%w query: more than one %s", ErrMalformed, name)
		}
		v[name] = values[0]
	}
	limit, err = strconv.Atoi(cmp.Or(v["limit"], strconv.Itoa(defaultPage)))
	if err != nil || limit < 1 || limit > MaxPage {
		return nil, 0, fmt.Errorf("%w limit %q: want 1 to %d", ErrMalformed, printable(v["limit"]), MaxPage)
	}
	return v, limit, nil
}

func (s *submissions) slices(r *http.Request, _ caller) (any, error) {
	v, limit, err := query(r, "stage", "state", "after", "limit")
	if err != nil {
		return nil, err
	}
	q := SliceQuery{Stage: v["stage"], State: observed.SliceState(v["state"]), Limit: limit}
	if q.Campaign, err = pathWord(r, "campaign", runName); err != nil {
		return nil, err
	}
	if q.After, err = parsePlace(v["after"]); err != nil {
		return nil, err
	}
	if q.State != "" && !slices.Contains(observed.SliceStates, q.State) {
		return nil, fmt.Errorf("%w state %q: there are %v", ErrMalformed, q.State, observed.SliceStates)
	}
	return s.Submissions.Slices(r.Context(), q)
}

// order takes the names of slices, one in a line, as ID or STAGE/ID; of a test, none. Reason, and the stage of a test, are in the query.
func (s *submissions) order(r *http.Request, who caller, do string) (any, error) {
	names := []string{"reason"}
	if do == "test" {
		names = append(names, "stage")
	}
	v, _, err := query(r, names...)
	if err != nil {
		return nil, err
	}
	o := Order{Do: do, Stage: v["stage"], Reason: strings.TrimSpace(printable(v["reason"])), By: who.name}
	if o.Campaign, err = pathWord(r, "campaign", runName); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if o.Slices, err = inputNames(string(b)); err != nil {
		return nil, err
	}
	switch {
	case do == "test" && len(o.Slices) > 0:
		return nil, fmt.Errorf("%w body: a test makes its slices itself", ErrMalformed)
	case len(o.Slices) > MaxOrdered:
		return nil, fmt.Errorf("%w body: %d slices; send at most %d at once", ErrMalformed, len(o.Slices), MaxOrdered)
	}
	return s.Submissions.Order(r.Context(), o)
}
