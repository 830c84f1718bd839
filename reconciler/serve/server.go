package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// maxHeader bounds a request header, in bytes. The library reads 4096 more than it is told.
const maxHeader = 16<<10 - 4096

// ErrCut says that transfers were cut off at the end, because they took too long.
var ErrCut = errors.New("cut off transfers")

// Run serves h on l until ctx ends, then takes no new connections and lets running transfers finish. It closes l. An
// error says that serving ended by itself; ErrCut, that transfers were cut off after ShutdownTimeout.
func Run(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	o = o.withDefaults()
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(newListener(l, o)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return stop(server, o)
	})
	return g.Wait()
}

func stop(server *http.Server, o Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.ShutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrCut, err), server.Close())
	}
	return nil
}
