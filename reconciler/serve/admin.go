package serve

import (
	"net/http"
)

// Admin answers those who watch the service, on a listener of its own: FECs have no business there.
type Admin struct {
	Metrics http.Handler
	Alive   func() error // nil while the service works or rests
	Ready   func() error // nil once there is something to ask it for
}

// Handler answers /metrics, /healthz and /readyz.
func (a Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.Metrics)
	mux.HandleFunc("GET /healthz", answerIf(a.Alive))
	mux.HandleFunc("GET /readyz", answerIf(a.Ready))
	return mux
}

func answerIf(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			sendText(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
		sendText(w, http.StatusOK, "ok\n")
	}
}
