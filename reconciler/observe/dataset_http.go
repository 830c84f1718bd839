package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// maxPage is how long one page of a catalogue may be, in bytes; maxPages how many there may be.
const (
	maxPage  = 256 << 20
	maxPages = 10_000
)

// catalogue reads what an address lists, page by page.
func catalogue(ctx context.Context, c desired.Catalogue, l *inputs) error {
	at, err := url.Parse(c.URL)
	if err != nil {
		return err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	seen, left := map[string]bool{}, int64(maxDataset)
	for page := range maxPages {
		seen[at.String()] = true
		b, err := fetched(ctx, client, http.MethodGet, at, nil, min(maxPage, left))
		if err != nil {
			return err
		}
		left -= int64(len(b))
		next, err := readPage(b, c, l)
		if err != nil {
			return fmt.Errorf("page %d of %s: %w", page+1, at.Host, err)
		}
		if next == "" {
			return nil
		}
		to, err := at.Parse(next)
		switch {
		case err != nil:
			return fmt.Errorf("page %d of %s: the address of the next page: %w", page+1, at.Host, err)
		case to.Host != at.Host || to.Scheme != at.Scheme:
			return fmt.Errorf("page %d of %s: the next page is on %s", page+1, at.Host, to.Host)
		case seen[to.String()]:
			return fmt.Errorf("page %d of %s: the next page is one that was read before", page+1, at.Host)
		}
		at = to
	}
	return fmt.Errorf("%s has more than %d pages", at.Host, maxPages)
}

// readPage adds what one page lists, and returns the address of the next page as it stands there, empty for none.
func readPage(b []byte, c desired.Catalogue, l *inputs) (next string, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("the answer is no JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("something follows the answer")
	}
	items, ok := field(v, c.Items).([]any)
	if !ok {
		return "", fmt.Errorf("%s is no array", orAnswer(c.Items))
	}
	for i, item := range items {
		in, err := inputOf(item, c)
		if err == nil {
			err = l.add(in)
		}
		if err != nil {
			return "", fmt.Errorf("%s[%d]: %w", orAnswer(c.Items), i, err)
		}
	}
	if c.Next == "" {
		return "", nil
	}
	switch next := field(v, c.Next).(type) {
	case nil:
		return "", nil
	case string:
		return next, nil
	}
	return "", fmt.Errorf("%s is no address", c.Next)
}

func orAnswer(path string) string {
	if path == "" {
		return "the answer"
	}
	return path
}

// field is the value at field names with dots between; nil for none.
func field(v any, path string) any {
	if path == "" {
		return v
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// inputOf is what an item of a catalogue says: a name alone, or an object.
func inputOf(item any, c desired.Catalogue) (in observed.Input, err error) {
	if name, ok := item.(string); ok {
		return observed.Input{Name: name}, nil
	}
	at := c.Name
	if at == "" {
		at = "name"
	}
	name, ok := field(item, at).(string)
	if !ok {
		return in, fmt.Errorf("it has no %s", at)
	}
	in.Name = name
	if c.RunNumber != "" {
		in.Run, err = whole(field(item, c.RunNumber), c.RunNumber)
	}
	if c.Size != "" && err == nil {
		in.Size, err = whole(field(item, c.Size), c.Size)
	}
	if c.Time != "" && err == nil {
		in.Time, err = moment(field(item, c.Time), c.Time)
	}
	return in, err
}

// whole reads a number, perhaps as a text; none is 0.
func whole(v any, what string) (int64, error) {
	var text string
	switch v := v.(type) {
	case nil:
		return 0, nil
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is no whole number: %.40q", what, fmt.Sprint(v))
	}
	return n, nil
}

// moment reads a time: RFC 3339, or seconds since 1970; none is zero.
func moment(v any, what string) (time.Time, error) {
	var text string
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case json.Number:
		text = v.String()
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t, nil
		}
		text = v
	}
	const most = 253402300799 // the end of the year 9999
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 0 || seconds > most {
		return time.Time{}, fmt.Errorf("%s is no time: %.40q", what, fmt.Sprint(v))
	}
	sec, part := math.Modf(seconds)
	return time.Unix(int64(sec), int64(part*1e9)).UTC(), nil
}

// fetched is what an address answers, whole. Form is sent, if it is not nil.
func fetched(ctx context.Context, client *http.Client, method string, at *url.URL, form url.Values, most int64) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, datasetRequest)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	defer resp.Body.Close() // read as far as needed
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", at.Host, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("the answer has more than %d bytes", most)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", at.Host, err)
	}
	return b, nil
}

// bare is an error without the address, which may be long.
func bare(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		if u, err := url.Parse(e.URL); err == nil {
			return fmt.Errorf("ask %s: %w", u.Host, e.Err)
		}
	}
	return err
}
