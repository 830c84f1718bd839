package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tellSystemd tells the service manager how the service fares, if one asked to be told (sd_notify(3)). It waits a second at
// most: systemd may be busy, and serving goes on.
func tellSystemd(log *slog.Logger, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"}) // @ is an abstract one
	if err == nil {
		err = c.SetWriteDeadline(time.Now().Add(time.Second))
		if err == nil {
			_, err = c.Write([]byte(state))
		}
		err = errors.Join(err, c.Close())
	}
	if err != nil {
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
				tellSystemd(p.log, "WATCHDOG=1")
			} else if !hung {
				p.log.Error("watchdog not fed", "because", err)
			}
			hung = err != nil
		}
	}
}

// watchdog says when the watchdog is to be fed; never, if nobody set one for this process (sd_watchdog_enabled(3)).
func watchdog(log *slog.Logger) (feed <-chan time.Time, stop func()) {
	limit, pid := os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	if limit == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, func() {}
	}
	microseconds, err := strconv.ParseInt(limit, 10, 64)
	if err != nil || microseconds < 2 {
		log.Warn("watchdog of systemd not fed: malformed WATCHDOG_USEC", "value", limit)
		return nil, func() {}
	}
	t := time.NewTicker(time.Duration(microseconds) * time.Microsecond / 2)
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
