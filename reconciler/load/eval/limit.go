package eval

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

const (
	// dataLimit bounds what the process may map for data; RLIMIT_AS is of no use, since Go reserves address space.
	dataLimit = 768 << 20
	// softLimit makes the collector work harder.
	softLimit = 384 << 20
	// stackLimit bounds recursion of the evaluator, per goroutine.
	stackLimit = 256 << 20
)

func limitMemory() error {
	debug.SetMemoryLimit(softLimit)
	debug.SetGCPercent(400)
	debug.SetMaxStack(stackLimit)
	l := syscall.Rlimit{Cur: dataLimit, Max: dataLimit}
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &l); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	go watch()
	return nil
}

// watch ends the process when it has grown too large. It lives as long as the process.
func watch() {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for range time.Tick(10 * time.Millisecond) {
		metrics.Read(s)
		if s[0].Value.Uint64()-s[1].Value.Uint64() > wire.MaxMemory {
			os.Exit(wire.ExitMemory)
		}
	}
}

// limitCPU lets the process use some more seconds of processor time from now on; the kernel then ends it. It stands in
// for the parent's deadline when the parent is gone.
func limitCPU(seconds uint64) error {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return fmt.Errorf("read processor time: %w", err)
	}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CPU, &l); err != nil {
		return fmt.Errorf("read processor limit: %w", err)
	}
	l.Cur = min(uint64(u.Utime.Sec+u.Stime.Sec)+1+seconds, l.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_CPU, &l); err != nil {
		return fmt.Errorf("limit processor time: %w", err)
	}
	return nil
}
