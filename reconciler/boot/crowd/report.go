package crowd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// report keeps the state and tells the server. Like the boot client's, it stops nothing when the server does not take it.
func (f *FEC) report(ctx context.Context, client *http.Client, s Status) {
	f.mu.Lock()
	s.Boots, s.Starts = f.status.Boots, f.status.Starts
	f.status = s
	mute := f.mute
	form := fmt.Sprintf("fec=%s&serial=%d&state=%s&slot=%s&detail=%s&client=crowd", f.Name, s.Serial, s.State, s.Slot, url.QueryEscape(s.Detail))
	if token := f.crowd.settings.Tokens[f.Name]; token != "" {
		f.at = max(time.Now().Unix(), f.at+1) // each is newer than the last, also within a second
		form = tree.Token(token).Prove(form, time.Unix(f.at, 0))
	}
	f.mu.Unlock()
	if mute {
		return
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.crowd.settings.Server+"/-/report", strings.NewReader(form))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got, err := client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(got.Body, 1<<16)) // so that the connection is used again
		got.Body.Close()
	}
}
