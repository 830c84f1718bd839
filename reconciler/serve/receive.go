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
	log  *slog.Logger
	take func(Report)
	rate rate
}

// ServeHTTP takes a form as body or, as with a static server whose access log is the receiver, as query.
func (p *reports) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	now, from := time.Now(), remote(r)
	if !p.rate.allow(from, now) {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests)
		return
	}
	form, status := readForm(r)
	if status != 0 {
		refuse(w, status)
		return
	}
	report, err := parseReport(form)
	if err != nil {
		p.log.Info("refused report", "from", from, "problem", err)
		sendText(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	report.From, report.At = from, now
	p.accept(report)
	w.WriteHeader(http.StatusNoContent)
}

func (p *reports) accept(r Report) {
	log := p.log
	if r.Preview > 0 {
		log = log.With("preview", r.Preview)
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
