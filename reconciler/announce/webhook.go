package announce

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// client goes nowhere but to the address that was configured.
var client = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends JSON. Its errors do not hold the address, which may be a secret.
func post(ctx context.Context, address string, body []byte, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return &Rejected{"malformed address"}
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "pomona")
	resp, err := client.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer resp.Body.Close() // read below as far as it matters
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
	return verdict(resp, strings.TrimSpace(string(said)))
}

func verdict(resp *http.Response, said string) error {
	why := fmt.Sprintf("%s %q", resp.Status, said)
	switch code := resp.StatusCode; {
	case code < 300:
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date, or nothing: the usual wait
		return &Later{After: min(time.Duration(max(seconds, 0))*time.Second, time.Hour), Why: why}
	}
	return &Rejected{why}
}

// headline is one line for people.
func (e Event) headline() string {
	if e.Recovered {
		return fmt.Sprintf("%s: recovered: %s", e.Site, e.Title)
	}
	return fmt.Sprintf("%s: %s", e.Site, e.Title)
}

// cut is at most n bytes of s, whole runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// Slack posts to an incoming webhook as Slack, Mattermost, Rocket.Chat and Zulip take it.
type Slack struct {
	URLFile string // holds the address, which is the secret; mode 0600
	Secrets *Secrets
}

// Send posts an event.
func (s Slack) Send(ctx context.Context, e Event) error {
	address, err := s.Secrets.Read(s.URLFile)
	if err != nil {
		return err
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	color := map[Severity]string{Info: "good", Warning: "warning", Error: "danger"}[e.Severity]
	if e.Recovered {
		color = "good"
	}
	type attachment struct {
		Color    string `json:"color"`
		Fallback string `json:"fallback"`
		Text     string `json:"text"`
		Footer   string `json:"footer,omitempty"`
		At       int64  `json:"ts"`
	}
	body, err := json.Marshal(struct {
		Text        string       `json:"text"`
		Attachments []attachment `json:"attachments"`
	}{"*" + escape(e.headline()) + "*", []attachment{{color, escape(e.headline()), escape(cut(e.Text, 3000)), e.Commit, e.At.Unix()}}})
	if err != nil {
		return &Rejected{err.Error()}
	}
	return post(ctx, address, body, nil)
}

// Signed posts the event itself. X-Signature is sha256= and the hexadecimal HMAC-SHA256 of the body, as Flux's generic-hmac
// has it; X-Pomona-Delivery is the same when an event is sent again.
type Signed struct {
	URL        string
	SecretFile string // mode 0600
	Secrets    *Secrets
}

// Send posts an event.
func (s Signed) Send(ctx context.Context, e Event) error {
	secret, err := s.Secrets.Read(s.SecretFile)
	if err != nil {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return &Rejected{err.Error()}
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body) // never fails (hash.Hash)
	return post(ctx, s.URL, body, http.Header{"X-Signature": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}, "X-Pomona-Delivery": {e.id()}})
}

// Alertmanager posts alerts to Prometheus' Alertmanager, API v2. A failure is one alert until it has recovered; what does
// not last is one for an hour.
type Alertmanager struct {
	URL       string        // as --web.external-url has it, without /api/v2
	TokenFile string        // bearer token, mode 0600; empty: none
	Remind    time.Duration // that of the Notifier; an alert ends by itself an hour later than its reminder is due (4 h)
	Secrets   *Secrets
}

// Send posts an event.
func (a Alertmanager) Send(ctx context.Context, e Event) error {
	header := http.Header{}
	if a.TokenFile != "" {
		token, err := a.Secrets.Read(a.TokenFile)
		if err != nil {
			return err
		}
		header.Set("Authorization", "Bearer "+token)
	}
	address, err := url.JoinPath(a.URL, "api/v2/alerts")
	if err != nil {
		return &Rejected{"malformed address"}
	}
	body, err := json.Marshal([]alert{a.alert(e)})
	if err != nil {
		return &Rejected{err.Error()}
	}
	return post(ctx, address, body, header)
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    *time.Time        `json:"startsAt,omitempty"`
	EndsAt      time.Time         `json:"endsAt"`
}

// alert has the same labels as long as something lasts: Alertmanager tells alerts apart by them.
func (a Alertmanager) alert(e Event) alert {
	out := alert{
		Labels:      map[string]string{"alertname": "Pomona" + camel(string(e.Kind)), "kind": string(e.Kind), "site": e.Site, "severity": string(e.Severity)},
		Annotations: map[string]string{"summary": e.headline(), "description": cut(e.Text, 8000), "commit": e.Commit},
		EndsAt:      e.At,
	}
	if e.Pilot != "" {
		out.Labels["pilot"] = e.Pilot
	}
	if e.Recovered {
		return out
	}
	out.StartsAt, out.EndsAt = &e.At, e.At.Add(time.Hour)
	if e.Kind.lasts() {
		remind := a.Remind
		if remind <= 0 {
			remind = 4 * time.Hour
		}
		out.EndsAt = out.EndsAt.Add(remind)
	}
	return out
}

func camel(kind string) (s string) {
	for word := range strings.SplitSeq(kind, "-") {
		s += strings.ToUpper(word[:1]) + word[1:]
	}
	return s
}
