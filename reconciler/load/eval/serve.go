// Package eval evaluates CUE. It is the inside of a child process that load starts: it limits itself, has neither file
// system nor network, and may be killed at any moment.
package eval

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// Serve limits this process, then answers batches until in ends. The binary's hidden command eval-worker calls it; it
// must not share its process with anything else.
func Serve(in io.Reader, out io.Writer) error {
	if err := limitMemory(); err != nil {
		return err
	}
	conn := wire.New(in, out)
	if err := conn.Send(wire.Frame{}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	for {
		var b wire.Batch
		if err := conn.Receive(&b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read batch: %w", err)
		}
		if err := answer(conn, b); err != nil {
			return fmt.Errorf("answer batch: %w", err)
		}
	}
}

// answer sends a frame before and one after each unit, so that the parent knows which unit a death belongs to.
func answer(conn *wire.Conn, b wire.Batch) error {
	if err := limitCPU(b.CPU); err != nil {
		return err
	}
	batch, ps := loadBatch(b)
	if len(ps) > 0 {
		if err := conn.Send(wire.Frame{Unit: wire.Whole, Failed: true, Problems: ps}); err != nil {
			return err
		}
		return conn.Send(wire.Frame{Done: true})
	}
	for i := range b.Units {
		if err := conn.Send(wire.Frame{Unit: i, Started: true}); err != nil {
			return err
		}
		if err := limitCPU(b.CPU); err != nil {
			return err
		}
		if err := conn.Send(protect(batch, i)); err != nil {
			return err
		}
	}
	return conn.Send(wire.Frame{Done: true})
}

// protect turns a panic of the evaluator into a problem of the unit that caused it.
func protect(b *batch, i int) (f wire.Frame) {
	defer func() {
		if r := recover(); r != nil {
			debug.FreeOSMemory()
			f = wire.Frame{Failed: true, Problems: desired.Problems{{
				File: b.firstFile(i), Line: 1, Column: 1,
				Text:   clip(fmt.Sprintf("the CUE evaluator gives up: %v", r)),
				Advice: "write the files of this folder more simply",
			}}}
		}
		f.Unit = i
	}()
	if len(b.units[i].Paths) > 0 {
		return b.locate(i)
	}
	return b.evaluate(i)
}
