package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// tellSystemd tells the service manager how the service fares, if one asked to be told.
func tellSystemd(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd not told", "state", state, "err", err)
	}
}

// supervise tells systemd that the service is up, that it lives, that it reloads and that it stops. Reload is what SIGHUP
// asks for. Its watchdog is fed only while p is alive.
func supervise(ctx context.Context, p *process, reload func()) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	tellSystemd(p.log, "READY=1")
	defer tellSystemd(p.log, "STOPPING=1")
	feed, stop := watchdog(p.log)
	defer stop()
	hung := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			tellSystemd(p.log, "STATUS="+p.status())
		case <-hangups:
			tellSystemd(p.log, fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic()))
			go func() { // a pass may take long, and the watchdog must be fed
				reload()
				tellSystemd(p.log, "READY=1")
			}()
		case <-feed:
			err := p.alive()
			if err == nil {
				tellSystemd(p.log, daemon.SdNotifyWatchdog)
			} else if !hung {
				p.log.Error("watchdog not fed", "because", err)
			}
			hung = err != nil
		}
	}
}

// watchdog says when the watchdog is to be fed; never, if nobody set one.
func watchdog(log *slog.Logger) (feed <-chan time.Time, stop func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog of systemd not fed", "err", err)
	}
	if err != nil || every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every / 2)
	return t.C, t.Stop
}

// monotonic is the time of CLOCK_MONOTONIC in microseconds.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return t.Nano() / 1000
}
