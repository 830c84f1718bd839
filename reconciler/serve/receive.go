package serve

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"time"
)

// reports receives what FECs report.
type reports struct {
	log    *slog.Logger
	take   func(Report)
	known  func(fec string) bool
	proofs *proofs
	rate   rate
}

// ServeHTTP takes a form as body or, as with a static server whose access log is the receiver, as query.
func (p *reports) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	form, status := readForm(r)
	if status != 0 {
		refuse(w, status)
		return
	}
	now, from := time.Now(), remote(r)
	report, err := parseReport(form)
	if err != nil {
		if p.rate.allow(from, "", false, now) { // else nobody is told: a log must not grow so fast
			p.log.Info("refused report", "from", from, "problem", err)
		}
		sendText(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	report.From, report.At = from, now
	doubt := p.proofs.check(form, report, now)
	if errors.Is(doubt, errRepeated) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	share := report.FEC
	if doubt != nil && p.known != nil && !p.known(share) {
		share = nobody
	}
	if !p.rate.allow(from, share, doubt == nil, now) {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests)
		return
	}
	if doubt != nil && p.proofs.Require {
		p.log.Warn("refused report: no valid token", "fec", report.FEC, "from", from, "because", doubt)
		sendText(w, http.StatusForbidden, "this site wants a valid token with each report: "+doubt.Error()+"\n")
		return
	}
	if doubt == nil {
		report.Proven = p.proofs.accept(form, report)
	}
	p.accept(report, doubt)
	w.WriteHeader(http.StatusNoContent)
}

func (p *reports) accept(r Report, doubt error) {
	log := p.log
	if r.Preview > 0 {
		log = log.With("preview", r.Preview)
	}
	if r.Dev != "" {
		log = log.With("dev", r.Dev)
	}
	if p.proofs.TokenFile != "" {
		log = log.With("proven", r.Proven)
	}
	if doubt != nil && !r.Clock.IsZero() {
		log = log.With("unproven", doubt)
	}
	log.Info("received report", "fec", r.FEC, "serial", r.Serial, "state", string(r.State),
		"slot", r.Slot, "detail", r.Detail, "client", r.Client, "from", r.From)
	if p.take != nil {
		p.take(r)
	}
}

// readForm reads a form, or says with which status to refuse it.
func readForm(r *http.Request) (form string, status int) {
	if r.Method == http.MethodGet {
		return r.URL.RawQuery, 0
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return "", http.StatusUnsupportedMediaType
	}
	b, err := io.ReadAll(r.Body) // bounded by limitBody
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return "", http.StatusRequestEntityTooLarge
	case err != nil:
		return "", http.StatusBadRequest
	}
	return string(b), 0
}

// remote is the address of the other end; the zero address if the connection has none.
func remote(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
