package observe

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// longDimensions is from how many bytes on dimensions are sent in the body, as SAM's own client does: addresses cannot be that long.
const longDimensions = 1024

// samFiles asks a SAM station's web service what files a definition or dimensions have; with a project those of them that it has consumed.
// It asks for their number first: a list that has fewer was cut.
func samFiles(ctx context.Context, s desired.SAM, project string, l *inputs) error {
	dims := s.Dimensions
	if project != "" && s.Definition != "" {
		dims = "defname: " + s.Definition
	}
	if project != "" {
		dims = fmt.Sprintf("( %s ) and project_name %s and consumed_status consumed", dims, project)
	}
	client := newClient()
	defer client.CloseIdleConnections()
	ask := func(what string, params url.Values) ([]byte, error) {
		method, form := http.MethodGet, url.Values(nil)
		base := strings.TrimSuffix(s.URL, "/")
		switch {
		case dims == "":
			base += "/definitions/name/" + url.PathEscape(s.Definition) + "/files/" + what
		case len(dims) > longDimensions:
			base += "/files/" + what
			method, form = http.MethodPost, url.Values{"dims": {dims}}
		default:
			base += "/files/" + what
			params.Set("dims", dims)
		}
		at, err := url.Parse(base)
		if err != nil {
			return nil, err
		}
		at.RawQuery = params.Encode()
		return fetched(ctx, client, method, at, form, maxDataset)
	}
	b, err := ask("count", url.Values{})
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return fmt.Errorf("ask how many files there are: the answer is no number: %.40q", b)
	}
	if b, err = ask("list", url.Values{"format": {"plain"}, "fileinfo": {"1"}}); err != nil {
		return err
	}
	before := len(l.all)
	for line := range strings.Lines(string(b)) {
		if err := l.addLine(line); err != nil {
			return err
		}
	}
	if n := len(l.all) - before; n < count {
		return fmt.Errorf("the list has %d files of %d: it was cut, or changed meanwhile", n, count)
	}
	return nil
}

// addLine reads a line of a list: name, id, size and number of events.
func (l *inputs) addLine(line string) error {
	words := strings.Fields(line)
	switch len(words) {
	case 0:
		return nil
	case 4:
		if size, err := strconv.ParseInt(words[2], 10, 64); err == nil && size >= 0 {
			return l.add(observed.Input{Name: words[0], Size: size})
		}
	}
	return fmt.Errorf("a line that is no file with its id, size and events: %.100q", strings.TrimSpace(line))
}
